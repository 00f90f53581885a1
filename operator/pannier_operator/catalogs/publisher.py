"""Keeps the ConfigMaps of every consuming namespace as the entries have it; no-op edits touch nothing.

What is published already is the starting point: a group that is not decided yet (after a restart), that
cannot be read, or that is paused keeps its published version. A namespace is written once for all edits that
come within a short delay; whoever publishes waits for that.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Final, Self

import structlog

from pannier.catalog_building import next_revision
from pannier.catalog_feed import BESIDE
from pannier.errors import Problem
from pannier.inputs import input_graph
from pannier_operator.catalogs.catalog_content import (
    Entry,
    as_seen_by,
    catalog_files,
    content_digest,
    tells_the_same,
    visible_to,
)
from pannier_operator.catalogs.group_index import Key
from pannier_operator.catalogs.published import NOTHING, Published, by_key, published_from
from pannier_operator.clock import Clock
from pannier_operator.errors import KubeFault, LeadershipLost
from pannier_operator.kube.config_maps import DIGEST, REVISION, CatalogMaps
from pannier_operator.reporting.publication import Written

_log: Final = structlog.stdlib.get_logger(__name__)
_FIRST: Final = ("", "")


class Publisher:
    """All catalogs of the cluster; owned through ``async with``."""

    def __init__(
        self,
        maps: CatalogMaps,
        clock: Clock,
        *,
        is_known: Callable[[Key], bool],
        delay_seconds: float,
        beside: Callable[[], Mapping[str, str | None]] = dict,
    ) -> None:
        """``beside``: files beside catalogs, by name; empty = there is none, None = what stands is kept."""
        self._maps = maps
        self._beside = beside
        self._clock = clock
        self._is_known = is_known
        self._delay_seconds = delay_seconds
        self._entries: dict[Key, Entry] = {}
        self._members: defaultdict[str, set[Key]] = defaultdict(set)
        self._published: dict[str, Published] = {}
        self._input_faults: dict[str, dict[Key, Problem]] = {}
        """Why sidecars of a namespace cannot read what a group is computed from."""
        self._since: defaultdict[str, dict[Key, int]] = defaultdict(dict)
        self.told: Callable[[str], None] = lambda _namespace: None
        """Hears of each namespace whose catalog is another than before."""
        self.wake: Callable[[Key], None] = lambda _key: None
        """Has a group told anew that another one's edit has given a fault, or taken it."""
        self._losers: dict[str, dict[Key, Key]] = {}
        self._revision_floor: dict[str, int] = {}
        self._rounds: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._faults: dict[str, KubeFault] = {}
        self._writing: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self.writes = 0

    async def publish(self, entry: Entry) -> list[Written]:
        """Bring every namespace of a group up to date; says for each what came of it."""
        await asyncio.wait(self.announce(entry))
        return [self._written(namespace, entry.key) for namespace in entry.namespaces]

    def announce(self, entry: Entry) -> list[asyncio.Task[None]]:
        """Have every namespace of a group brought up to date soon; returns what may be waited for."""
        before = self._entries.get(entry.key)
        self._enter(entry)
        entry = self._entries[entry.key]
        left = set(before.namespaces if before else self._standing(entry.key)) - set(entry.namespaces)
        return [self._round(namespace) for namespace in {*entry.namespaces, *left}]

    async def withdraw(self, key: Key, named: Iterable[str] = ()) -> bool:
        """Take a group out of every catalog; says whether that was done.

        Of ``named`` namespaces the catalog is read where it is not known: the group may be in it.
        """
        entry = self._entries.pop(key, None)
        namespaces = set(entry.namespaces if entry else ()) | set(self._standing(key))
        for namespace in namespaces:
            self._members[namespace].discard(key)
        namespaces |= {namespace for namespace in named if namespace not in self._published}
        await self._bring_up_to_date(namespaces)
        return namespaces.isdisjoint(self._faults)

    async def check(self, namespaces: Iterable[str]) -> None:
        """Read catalogs anew and put right what somebody changed or removed."""
        listed = list(namespaces)
        for namespace in listed:
            self._published.pop(namespace, None)
        await self._bring_up_to_date(listed)

    @property
    def namespaces(self) -> list[str]:
        """Every namespace whose catalog is known, or that is to have one."""
        return sorted({*self._published, *(namespace for namespace, keys in self._members.items() if keys)})

    def published(self, namespace: str) -> Published:
        """What a namespace's sidecars are told, as far as it is known."""
        return self._published.get(namespace, NOTHING)

    def standings(self, key: Key) -> Iterator[tuple[str, int]]:
        """Every namespace that is told of a group, and the first revision known to have it as it is."""
        for namespace in list(self._standing(key)):
            published = self._published[namespace]
            yield namespace, self._since[namespace].get(key, published.revision)

    async def existing(self) -> list[str]:
        """Return every namespace that has a catalog or is to have one. Raises `KubeFault`."""
        return sorted({*await self._maps.namespaces(), *self.namespaces})

    def holds(self, key: Key) -> bool:
        """Whether sidecars are told of the group, in whatever version."""
        return key in self._entries or any(True for _ in self._standing(key))

    def is_current(self, entry: Entry) -> bool:
        """Whether everything of the entry is published already."""
        held = self._entries.get(entry.key)
        current = held is not None and held.digest == entry.digest
        return current and all(self._stands_in(namespace, entry) for namespace in entry.namespaces)

    def written(self, entry: Entry) -> list[Written]:
        """Say again what came of publishing an entry that `is_current`."""
        return [self._written(namespace, entry.key) for namespace in entry.namespaces]

    def _stands_in(self, namespace: str, entry: Entry) -> bool:
        """Whether what a namespace's sidecars are told is as the entry has it; a write may be under way."""
        published = self._published.get(namespace, NOTHING)
        stands = published.groups.get(entry.key)
        if stands is None:
            return namespace in self._published and entry.key in self._losers.get(namespace, {})
        return tells_the_same(stands, as_seen_by(namespace, entry))

    def _standing(self, key: Key) -> Iterator[str]:
        return (namespace for namespace, published in self._published.items() if key in published.groups)

    def _enter(self, entry: Entry) -> None:
        before = self._entries.get(entry.key)
        if before is not None and before.is_newer_than(entry):
            return
        for namespace in before.namespaces if before else ():
            self._members[namespace].discard(entry.key)
        self._entries[entry.key] = entry
        for namespace in entry.namespaces:
            self._members[namespace].add(entry.key)

    def _written(self, namespace: str, key: Key) -> Written:
        published = self._published.get(namespace)
        if published is None:
            fault = self._faults.get(namespace)
            missing = fault is not None and fault.is_missing
            return Written(namespace, fault=str(fault or "not published yet"), namespace_is_missing=missing)
        winner = self._losers.get(namespace, {}).get(key)
        return Written(
            namespace,
            published.revision,
            str(winner) if winner else None,
            input_fault=self._input_faults.get(namespace, {}).get(key),
        )

    # -- rounds: one writing of a namespace for all who ask for it within the delay

    async def _bring_up_to_date(self, namespaces: Iterable[str]) -> None:
        rounds = [self._round(namespace) for namespace in set(namespaces)]
        if rounds:
            await asyncio.wait(rounds)

    def _round(self, namespace: str) -> asyncio.Task[None]:
        waiting = self._rounds.get(namespace)
        if waiting is None:
            waiting = asyncio.get_running_loop().create_task(
                self._run_round(namespace), name=f"catalog of {namespace}"
            )
            self._rounds[namespace] = waiting
            self._tasks.add(waiting)
            waiting.add_done_callback(self._tasks.discard)
        return waiting

    async def _run_round(self, namespace: str) -> None:
        await asyncio.sleep(self._delay_seconds)
        async with self._writing[namespace]:
            self._rounds.pop(namespace, None)  # who comes from here on needs another round
            try:
                await self._write(namespace)
            except KubeFault as fault:
                self._published.pop(namespace, None)
                self._faults[namespace] = fault
                _log.warning("catalog_not_published", namespace=namespace, fault=str(fault))
            except LeadershipLost:
                return  # whoever waits is told the same by its own next write, and by the end of this replica
            else:
                self._faults.pop(namespace, None)

    async def _write(self, namespace: str) -> None:
        standing = self._published.get(namespace) or await self._load(namespace)
        visible = visible_to(namespace, self._candidates(namespace, standing))
        self._losers[namespace] = dict(visible.losers)
        digest = content_digest(visible.groups)
        is_needless = standing.digest == digest if standing.maps else not visible.groups
        beside = self._files_beside(standing) if visible.groups else standing.beside
        if standing.sound and is_needless and standing.beside == beside:
            self._note(namespace, standing, None)
            return
        floor = max(standing.revision, self._revision_floor.get(namespace, 0))
        revision = next_revision(floor, int(self._clock.now().timestamp() * 1000))
        maps = await self._maps.write(
            namespace,
            {**catalog_files(visible.groups, revision), **beside},
            annotations={DIGEST: digest, REVISION: str(revision)},
            maps_before=standing.maps,
        )
        self.writes += 1
        self._revision_floor[namespace] = revision
        groups = by_key(visible.groups)
        self._note(namespace, Published(revision, digest, groups, maps, beside=beside), standing)

    def _files_beside(self, standing: Published) -> dict[str, str]:
        wanted = self._beside()
        files = {name: wanted.get(name, "") for name in BESIDE}
        kept = {name: standing.beside.get(name) if text is None else text for name, text in files.items()}
        return {name: text for name, text in kept.items() if text}

    def _note(self, namespace: str, published: Published, before: Published | None) -> None:
        """Keep what is published, and since when each group is as it is; None = nothing has changed."""
        since, before = self._since[namespace], before or published
        for key, group in published.groups.items():
            held = before.groups.get(key)
            if held is not None and tells_the_same(held, group):
                since.setdefault(key, before.revision)
            else:
                since[key] = published.revision
        for key in since.keys() - published.groups.keys():
            del since[key]
        self._published[namespace] = published
        self._judge_inputs(namespace, published, before)
        self.told(namespace)

    def _judge_inputs(self, namespace: str, published: Published, before: Published) -> None:
        """Find whose inputs cannot be read now, and have told anew who was fine before, or is fine again."""
        found, groups = input_graph(published.groups.values()).faults, published.groups.items()
        faults = {key: found[group.group_name] for key, group in groups if group.group_name in found}
        known = self._input_faults.get(namespace, {})
        self._input_faults[namespace] = faults
        for key in before.groups.keys() & published.groups.keys():
            if known.get(key) != faults.get(key):
                self.wake(key)

    async def _load(self, namespace: str) -> Published:
        found = await self._maps.read(namespace)
        return NOTHING if found is None else published_from(found.data, found.shard_maps)

    def _candidates(self, namespace: str, standing: Published) -> Iterator[Entry]:
        """Return the decided groups of a namespace, and what is published of those not decided yet."""
        yield from (self._entries[key] for key in self._members[namespace] if key in self._entries)
        for key, group in standing.groups.items():
            if key not in self._entries and self._is_known(key):
                grants = {} if key.namespace == namespace else {namespace: group.access}
                yield Entry(key, _FIRST, group, grants)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def __repr__(self) -> str:
        return f"<Publisher of {len(self._entries)} groups to {len(self._published)} namespaces>"
