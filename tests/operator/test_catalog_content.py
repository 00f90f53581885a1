"""Which groups a namespace's catalog holds, and what of an edit it can tell."""

from __future__ import annotations

from typing import Any

import pytest
from tests.manifests import a_feature_group

from pannier.catalog_rendering import parse
from pannier_operator.catalogs.catalog_content import (
    Entry,
    catalog_files,
    content_digest,
    entry_of,
    visible_to,
)
from pannier_operator.catalogs.group_index import Key
from pannier_operator.catalogs.published import published_from
from pannier_operator.kube.config_maps import map_name, split


def an_entry(
    name: str = "user-facts",
    namespace: str = "shop",
    changes: dict[str, Any] | None = None,
    created: str = "2026-01-01",
    generation: int = 1,
) -> Entry:
    metadata = {
        "/metadata.name": name,
        "/metadata.namespace": namespace,
        "/metadata.generation": generation,
    }
    group = a_feature_group({**metadata, **(changes or {})})
    return entry_of(group, created=created, uid=f"uid-{namespace}-{name}", table_prefix="pannier")


TO_ADS = {"consumers": [{"namespace": "ads", "access": "Read"}]}


def test_consumers_see_what_they_are_granted_with_their_access() -> None:
    """The owner's namespace may write; a consumer has the access the owner declared; others see nothing."""
    entry = an_entry(changes=TO_ADS)
    assert [group.access for group in visible_to("shop", [entry]).groups] == ["ReadWrite"]
    assert [group.access for group in visible_to("ads", [entry]).groups] == ["Read"]
    assert visible_to("other", [entry]).groups == ()
    assert entry.namespaces == ["shop", "ads"]


def test_a_consumer_may_be_granted_writes() -> None:
    """ReadWrite reaches the consumer's catalog."""
    entry = an_entry(changes={"consumers": [{"namespace": "ads", "access": "ReadWrite"}]})
    assert [group.access for group in visible_to("ads", [entry]).groups] == ["ReadWrite"]


def test_of_two_groups_with_one_name_the_older_is_served() -> None:
    """A newcomer does not displace what is served, and learns whose the name is."""
    old, new = an_entry("old"), an_entry("new", created="2026-02-01")
    visible = visible_to("shop", [new, old])
    assert [group.resource for group in visible.groups] == ["old"]
    assert visible.losers == {Key("shop", "new"): Key("shop", "old")}


def test_a_namespaces_own_group_comes_before_what_others_give_it() -> None:
    """Nobody's grant displaces a namespace's own group, however old the granting one is."""
    granted = an_entry("granted", "shop", TO_ADS, created="2025-01-01")
    own = an_entry("own", "ads", created="2026-02-01")
    visible = visible_to("ads", [granted, own])
    assert [group.resource for group in visible.groups] == ["own"]
    assert visible.losers == {Key("shop", "granted"): Key("ads", "own")}


@pytest.mark.parametrize(
    ("changes", "is_news"),
    [
        ({"description": "new words"}, False),
        ({"managementPolicy": "Observe"}, False),
        ({"deletionPolicy": "Delete"}, False),
        ({"storage.dedicated": {"tableClass": "InfrequentAccess"}}, False),
        ({"/metadata.generation": 7}, False),
        ({"cache": {"local": {"hardTTLSeconds": 5}}}, True),
        ({"features[2]": {"id": 2, "name": "score", "type": "Float64"}}, True),
        ({"retention": {"seconds": 60}}, True),
    ],
)
def test_only_what_sidecars_can_tell_changes_the_digest(changes: dict[str, Any], is_news: bool) -> None:  # noqa: FBT001 - a case
    """An edit without effect on serving touches no ConfigMap."""
    before, after = an_entry(), an_entry(changes=changes)
    assert (before.digest != after.digest) is is_news
    digests = {content_digest(visible_to("shop", [entry]).groups) for entry in (before, after)}
    assert (len(digests) == 2) is is_news


def test_a_grant_is_news() -> None:
    """Another consumer changes what has to be published."""
    assert an_entry().digest != an_entry(changes=TO_ADS).digest


def test_a_catalog_is_read_back_as_it_was_published() -> None:
    """Files give back groups, revision and digest."""
    groups = visible_to("shop", [an_entry(), an_entry("b", changes={"groupName": "b"})]).groups
    files = catalog_files(groups, 42)
    published = published_from(files, 1)
    assert published.sound
    assert published.revision == 42
    assert published.digest == content_digest(groups)
    assert set(published.groups) == {Key("shop", "user-facts"), Key("shop", "b")}


@pytest.mark.parametrize("shard", ["", "{}", '{"groups":[]}'])
def test_a_damaged_catalog_is_unsound_and_its_revision_still_counts(shard: str) -> None:
    """Somebody's edit of the data is found by its digest, and the next revision is above it."""
    files = catalog_files(visible_to("shop", [an_entry()]).groups, 42)
    published = published_from({**files, "groups-000.json": shard}, 1)
    assert not published.sound
    assert published.revision == 42
    assert published_from({}, 1).revision == 0


def test_shards_go_into_maps_with_known_names() -> None:
    """The manifest stands with the first shard, each further shard in a map of its own."""
    long = "x" * 1000
    entries = [
        an_entry(
            f"g{n}",
            changes={
                "groupName": f"g{n}",
                "features": [
                    {"id": i, "name": f"f{i}", "type": "String", "default": long, "description": "d" * 500}
                    for i in range(128)
                ],
            },
        )
        for n in range(12)
    ]
    groups = visible_to("shop", entries).groups
    maps = split(catalog_files(groups, 1))
    assert len(maps) > 1
    assert set(maps[0]) == {"manifest.json", "groups-000.json"}
    assert set(maps[1]) == {"groups-001.json"}
    assert all(sum(map(len, files.values())) < 1024 * 1024 for files in maps)
    assert (map_name(0), map_name(1)) == ("pannier-catalog", "pannier-catalog-001")
    whole = {name: text.encode() for files in maps for name, text in files.items()}
    assert len(parse(whole).catalog.groups) == 12


def test_an_empty_namespace_has_an_empty_catalog() -> None:
    """The last group that goes leaves a catalog that says so."""
    maps = split(catalog_files((), 3))
    assert len(maps) == 1
    assert published_from(maps[0], 1).groups == {}
