"""All FeatureGroups as last seen, small: the bytes of each object, and what is asked of it often.

Filled by a list at the start and by watch events after it; the resync compares it with a list again
(`liveness`). Decoding waits until somebody needs the object.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec

from pannier_operator.planning.observed import START_EMPTY


class Key(NamedTuple):
    """Namespace and name of a FeatureGroup."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


_DROPPED_METADATA: Final = frozenset({"managedFields"})
_DROPPED_ANNOTATIONS: Final = frozenset({"kubectl.kubernetes.io/last-applied-configuration"})
"""Copies of the object that the API server and kubectl keep in it."""


@dataclass(frozen=True, slots=True)
class SeenGroup:
    """One object as last seen."""

    key: Key
    uid: str
    generation: int
    resource_version: str
    deleting_since: str | None
    """metadata.deletionTimestamp; None = it stays."""
    trigger: tuple[Any, ...]
    """What, when it changes, is a reason to reconcile: not our own status."""
    _body: bytes = field(repr=False)

    @property
    def deleting(self) -> bool:
        """Whether it is on its way out."""
        return self.deleting_since is not None

    def document(self) -> dict[str, Any]:
        """Decode the object."""
        document: dict[str, Any] = msgspec.json.decode(self._body)
        return document


def seen_group(document: Mapping[str, Any]) -> SeenGroup:
    """Keep what matters of an object."""
    metadata = {name: part for name, part in document["metadata"].items() if name not in _DROPPED_METADATA}
    annotations = metadata.get("annotations") or {}
    metadata["annotations"] = {k: v for k, v in annotations.items() if k not in _DROPPED_ANNOTATIONS}
    deleting_since = metadata.get("deletionTimestamp")
    generation, uid = metadata.get("generation", 1), metadata["uid"]
    finalizers = tuple(metadata.get("finalizers") or ())
    return SeenGroup(
        key=Key(metadata["namespace"], metadata["name"]),
        uid=uid,
        generation=generation,
        resource_version=metadata["resourceVersion"],
        deleting_since=deleting_since,
        trigger=(uid, generation, deleting_since, finalizers, annotations.get(START_EMPTY)),
        _body=msgspec.json.encode({**document, "metadata": metadata}),
    )


class GroupIndex:
    """Every group by key. Whoever updates it learns whether that is a reason to reconcile."""

    def __init__(self) -> None:
        self._groups: dict[Key, SeenGroup] = {}

    def put(self, document: Mapping[str, Any]) -> SeenGroup | None:
        """Take in an object; returns it if something about it is new that the operator acts on."""
        new = seen_group(document)
        old = self._groups.get(new.key)
        if old is not None and old.uid == new.uid and _newer(old.resource_version, new.resource_version):
            return None
        self._groups[new.key] = new
        return new if old is None or old.trigger != new.trigger else None

    def put_written(self, document: Mapping[str, Any]) -> SeenGroup | None:
        """Take in what a write of ours was answered, like `put`, if the object is still there.

        It may hold an edit that the watch brings only later, and then as nothing new: whoever writes has to
        act on what is returned. An object that is gone must not come back by it.
        """
        metadata = document["metadata"]
        held = self._groups.get(Key(metadata["namespace"], metadata["name"]))
        return self.put(document) if held is not None and held.uid == metadata["uid"] else None

    def remove(self, key: Key, uid: str | None = None) -> bool:
        """Forget a group that is gone, unless another life of its name is here already."""
        held = self._groups.get(key)
        if held is None or (uid is not None and held.uid != uid):
            return False
        del self._groups[key]
        return True

    def get(self, key: Key) -> SeenGroup | None:
        """Return a group as last seen; None where there is none."""
        return self._groups.get(key)

    def keys(self) -> list[Key]:
        """Every key there is."""
        return list(self._groups)

    def all(self) -> Iterable[SeenGroup]:
        """Every group as last seen."""
        return self._groups.values()

    def stale(self, listed: Iterable[Mapping[str, Any]]) -> Iterator[Key]:
        """Compare with a list's metadata: keys that are missing, older here, or gone there."""
        there: dict[Key, str] = {}
        for document in listed:
            metadata = document["metadata"]
            there[Key(metadata["namespace"], metadata["name"])] = metadata["resourceVersion"]
        for key, version in there.items():
            held = self._groups.get(key)
            if held is None or _newer(version, held.resource_version):
                yield key
        yield from (key for key in self._groups if key not in there)

    def __len__(self) -> int:
        return len(self._groups)

    def __repr__(self) -> str:
        return f"<GroupIndex of {len(self._groups)} groups>"


def _newer(version: str, than: str) -> bool:
    """Whether one resourceVersion is newer than another; a list and a watch may cross.

    Decimal numbers that rise, as etcd's revisions are; of others only that they differ can be said.
    """
    if version.isdecimal() and than.isdecimal():
        return int(version) > int(than)
    return version != than
