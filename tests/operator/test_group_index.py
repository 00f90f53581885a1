"""What the operator knows of groups, and what of an event is a reason to act."""

from __future__ import annotations

from typing import Any

from tests.manifests import a_manifest

from pannier_operator.catalogs.group_index import GroupIndex, Key

KEY = Key("shop", "user-facts")


def an_object(version: str = "10", **metadata: Any) -> dict[str, Any]:
    document = a_manifest()
    document["metadata"] |= {
        "uid": "uid-1",
        "generation": 1,
        "resourceVersion": version,
        "creationTimestamp": "2026-01-01T00:00:00Z",
        **metadata,
    }
    return document


def test_a_new_group_is_news_and_its_own_status_is_not() -> None:
    """Our own status comes back as an event and starts nothing."""
    index = GroupIndex()
    assert index.put(an_object()) is not None
    assert index.put({**an_object("11"), "status": {"observedGeneration": 1}}) is None
    held = index.get(KEY)
    assert held is not None
    assert held.document()["status"] == {"observedGeneration": 1}


def test_an_edit_a_deletion_and_an_accepted_loss_are_news() -> None:
    """Whatever the operator acts on is a reason to reconcile."""
    index = GroupIndex()
    index.put(an_object())
    assert index.put(an_object("11", generation=2))
    assert index.put(an_object("12", generation=2, finalizers=["pannier.dev/rows"]))
    assert index.put(an_object("13", generation=2, annotations={"pannier.dev/start-empty": "id"}))
    assert index.put(an_object("14", generation=3, deletionTimestamp="2026-01-02T00:00:00Z"))
    held = index.get(KEY)
    assert held is not None
    assert held.deleting


def test_what_arrives_late_does_not_go_back() -> None:
    """A list and a watch may cross; the newer state stays."""
    index = GroupIndex()
    index.put(an_object("20", generation=2))
    assert index.put(an_object("9", generation=1)) is None
    held = index.get(KEY)
    assert held is not None
    assert held.generation == 2


def test_another_life_of_a_name_is_not_removed_with_the_first() -> None:
    """The deletion of a group that was re-created already is no deletion of the new one."""
    index = GroupIndex()
    index.put(an_object("10"))
    index.put(an_object("12", uid="uid-2"))
    assert not index.remove(KEY, "uid-1")
    assert index.remove(KEY, "uid-2")
    assert index.get(KEY) is None


def test_a_list_shows_what_the_watch_missed() -> None:
    """Missing, outdated and vanished groups are found, current ones are not."""
    index = GroupIndex()
    index.put(an_object("10"))
    assert list(index.stale([an_object("10")])) == []
    assert list(index.stale([an_object("11")])) == [KEY]
    assert list(index.stale([])) == [KEY]
    assert list(index.stale([an_object("10"), an_object("5", name="b")])) == [Key("shop", "b")]


def test_copies_of_the_object_in_itself_are_not_kept() -> None:
    """ManagedFields and kubectl's last applied configuration would double the memory of each group."""
    index = GroupIndex()
    copies = {"kubectl.kubernetes.io/last-applied-configuration": "x" * 10_000, "mine": "kept"}
    index.put(an_object(annotations=copies, managedFields=[{"x": "y" * 10_000}]))
    held = index.get(KEY)
    assert held is not None
    assert held.document()["metadata"]["annotations"] == {"mine": "kept"}
    assert "managedFields" not in held.document()["metadata"]
