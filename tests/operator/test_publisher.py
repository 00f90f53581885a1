"""Catalogs follow the groups: once per edit, never without a group, with a revision that only rises."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.operator.model_of_maps import ModelMaps
from tests.operator.test_catalog_content import TO_ADS, an_entry

from pannier.catalog_feed import AUTHORITY_FILE, BESIDE, ON_DEMAND_AUTHORITY_FILE
from pannier_operator.catalogs.catalog_content import Entry, visible_to
from pannier_operator.catalogs.group_index import Key
from pannier_operator.catalogs.publisher import Publisher
from pannier_operator.clock import ManualClock
from pannier_operator.errors import LeadershipLost
from pannier_operator.kube.config_maps import CatalogMaps

CLOCK = ManualClock()


@contextlib.asynccontextmanager
async def a_publisher(
    maps: ModelMaps, known: set[Key], beside: Callable[[], Mapping[str, str | None]] = dict
) -> AsyncIterator[Publisher]:
    async with Publisher(
        cast("CatalogMaps", maps), CLOCK, is_known=known.__contains__, delay_seconds=0.0, beside=beside
    ) as publisher:
        yield publisher


def hot(seconds: int, **changes: Any) -> Entry:
    return an_entry(changes={"cache": {"local": {"hardTTLSeconds": seconds}}, **changes})


KEY = an_entry().key


async def test_a_group_reaches_every_namespace_that_may_use_it() -> None:
    """Its own and its consumers', in one go."""
    maps = ModelMaps()
    async with a_publisher(maps, {KEY}) as publisher:
        written = await publisher.publish(an_entry(changes=TO_ADS))
        assert [(one.namespace, one.fault) for one in written] == [("shop", None), ("ads", None)]
        assert maps.served("shop") == maps.served("ads") == {"user_facts": ("user-facts", 60)}


async def test_who_computes_from_a_group_hears_when_it_comes_and_goes() -> None:
    """Applied in the order of file names, the one that computes may come first: it is told anew at once."""
    on_demand = {
        "service": {"name": "scores", "port": 8080},
        "inputs": [{"name": "facts", "group": "user_facts", "features": ["visits"]}],
    }
    scores = an_entry(
        "scores",
        changes={"groupName": "scores", "storage": {"mode": "None"}, "cache": {}, "onDemand": on_demand},
    )
    woken: list[Key] = []
    known = {KEY, scores.key}
    async with a_publisher(ModelMaps(), known) as publisher:
        publisher.wake = woken.append
        (first,) = await publisher.publish(scores)
        assert first.input_fault is not None
        assert (first.input_fault.reason, woken) == ("UnknownInputGroup", [])
        await publisher.publish(an_entry())
        assert woken == [scores.key]
        (again,) = await publisher.publish(scores)
        assert (again.input_fault, woken) == (None, [scores.key])
        known.remove(KEY)
        await publisher.withdraw(KEY)
        assert woken == [scores.key] * 2


async def test_what_is_published_is_not_published_again() -> None:
    """A second pass, an edit without effect and a restart write nothing."""
    maps = ModelMaps()
    async with a_publisher(maps, {KEY}) as publisher:
        await publisher.publish(hot(5))
        assert publisher.is_current(hot(5, description="new words"))
        await publisher.publish(hot(5, description="new words"))
    async with a_publisher(maps, {KEY}) as publisher:
        await publisher.check(await publisher.existing())
        await publisher.publish(hot(5))
    assert maps.writes == 1


async def test_edits_that_come_together_are_one_writing() -> None:
    """A namespace is written once for all that comes within the delay."""
    maps, entries = ModelMaps(), [an_entry(f"g{n}", changes={"groupName": f"g{n}"}) for n in range(50)]
    async with a_publisher(maps, {entry.key for entry in entries}) as publisher:
        await asyncio.gather(*map(publisher.publish, entries))
    assert len(maps.served("shop")) == 50
    assert maps.writes == 1


async def test_a_restart_takes_no_group_from_sidecars() -> None:
    """Groups that the new process has not decided yet stay as they were published."""
    maps = ModelMaps()
    other = an_entry("other", changes={"groupName": "other"})
    async with a_publisher(maps, {KEY, other.key}) as publisher:
        await publisher.publish(hot(5))
        await publisher.publish(other)
    async with a_publisher(maps, {KEY, other.key}) as publisher:
        await publisher.check(await publisher.existing())
        await publisher.publish(hot(9))
        assert maps.served("shop") == {"user_facts": ("user-facts", 9), "other": ("other", 60)}
        assert publisher.holds(other.key)


async def test_a_group_that_went_while_nobody_looked_is_taken_out() -> None:
    """A deletion that no operator saw is seen at the next start, in every namespace."""
    maps = ModelMaps()
    async with a_publisher(maps, {KEY}) as publisher:
        await publisher.publish(an_entry(changes=TO_ADS))
    async with a_publisher(maps, set()) as publisher:
        await publisher.check(await publisher.existing())
    assert maps.served("shop") == maps.served("ads") == {}


async def test_a_grant_that_is_withdrawn_is_gone() -> None:
    """A consumer that is no longer named loses the group, also after a restart."""
    maps = ModelMaps()
    async with a_publisher(maps, {KEY}) as publisher:
        await publisher.publish(an_entry(changes=TO_ADS))
    async with a_publisher(maps, {KEY}) as publisher:
        await publisher.check(await publisher.existing())
        await publisher.publish(an_entry())
    assert maps.served("shop") == {"user_facts": ("user-facts", 60)}
    assert maps.served("ads") == {}


@pytest.mark.parametrize("damage", ["edited", "emptied", "removed"])
async def test_a_damaged_catalog_is_written_anew_with_a_higher_revision(damage: str) -> None:
    """Whatever somebody does to the ConfigMap, the next check puts it right, and sidecars take it."""
    maps = ModelMaps()
    async with a_publisher(maps, {KEY}) as publisher:
        await publisher.publish(an_entry())
        before = maps.revision("shop")
        if damage == "edited":
            maps.data["shop"]["groups-000.json"] = '{"groups":[]}'
        elif damage == "emptied":
            maps.data["shop"] = {}
        else:
            del maps.data["shop"]
        await publisher.check(["shop"])
    assert maps.served("shop") == {"user_facts": ("user-facts", 60)}
    assert maps.revision("shop") > before


async def test_an_outage_is_told_and_made_up_for() -> None:
    """While the API server does not answer the publication says so; the next one brings everything."""
    maps = ModelMaps()
    async with a_publisher(maps, {KEY}) as publisher:
        maps.reachable = False
        (written,) = await publisher.publish(an_entry())
        assert written.fault is not None
        assert not publisher.is_current(an_entry())
        maps.reachable = True
        (written,) = await publisher.publish(an_entry())
        assert written.fault is None
    assert maps.served("shop") != {}


async def test_a_lease_that_is_lost_while_writing_leaves_no_task_behind(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The end of the replica says it; a task that nobody asks would say it once more, with a traceback."""
    maps = ModelMaps()

    async def lost(*_: Any, **__: Any) -> int:
        raise LeadershipLost("not renewed in time")

    maps.write = lost  # type: ignore[method-assign]
    async with a_publisher(maps, {KEY}) as publisher:
        (written,) = await publisher.publish(an_entry())
        assert written.fault == "not published yet"
    gc.collect()
    assert "never retrieved" not in caplog.text


async def test_a_namespace_that_is_not_there_keeps_no_other_from_its_catalog() -> None:
    """A consumer without namespace is told apart from a failure."""
    maps = ModelMaps()
    maps.gone.add("ads")
    async with a_publisher(maps, {KEY}) as publisher:
        own, other = await publisher.publish(an_entry(changes=TO_ADS))
    assert own.fault is None
    assert other.namespace_is_missing
    assert maps.served("shop") != {}


async def test_of_two_groups_with_one_name_the_second_is_told_whose_it_is() -> None:
    """And it takes over when the first one goes."""
    maps, new = ModelMaps(), an_entry("new", created="2026-02-01")
    known = {KEY, new.key}
    async with a_publisher(maps, known) as publisher:
        await publisher.publish(an_entry())
        (written,) = await publisher.publish(new)
        assert written.winner == str(KEY)
        known.discard(KEY)
        await publisher.withdraw(KEY)
        assert maps.served("shop") == {"user_facts": ("new", 60)}


names = st.sampled_from(["a", "b", "c"])
places = st.sampled_from(["shop", "ads"])
consumers = st.sets(st.sampled_from(["shop", "ads", "other"])).map(
    lambda found: [{"namespace": name} for name in sorted(found)]
)
edits = st.tuples(st.just("edit"), names, places, st.sampled_from(["x", "y"]), st.integers(1, 3), consumers)
removals = st.tuples(st.just("remove"), names, places)
accidents = st.tuples(st.sampled_from(["restart", "damage", "outage"]))


@settings(max_examples=60)
@given(st.lists(st.one_of(edits, edits, removals, accidents), max_size=25))
async def test_every_namespace_ends_with_what_it_may_see(steps: list[tuple[Any, ...]]) -> None:
    """Edits, removals, restarts, damage and outages in any order: the catalogs are those of the groups."""
    maps, known, entries = ModelMaps(), set[Key](), dict[Key, Entry]()
    async with contextlib.AsyncExitStack() as owned:
        publisher = await owned.enter_async_context(a_publisher(maps, known))
        for step in steps:
            publisher = await _do(step, maps, known, entries, publisher, owned)
        maps.reachable = True
        for entry in entries.values():
            await publisher.publish(entry)
        await publisher.check(await publisher.existing())
        for namespace in ("shop", "ads", "other"):
            groups = visible_to(namespace, entries.values()).groups
            assert {name: resource for name, (resource, _) in maps.served(namespace).items()} == {
                group.group_name: group.resource for group in groups
            }
        before = maps.writes
        await publisher.check(await publisher.existing())
        assert maps.writes == before
    for revisions in maps.revisions.values():
        assert revisions == sorted(set(revisions))


async def _do(  # noqa: PLR0917 - the whole state of a history
    step: tuple[Any, ...],
    maps: ModelMaps,
    known: set[Key],
    entries: dict[Key, Entry],
    publisher: Publisher,
    owned: contextlib.AsyncExitStack,
) -> Publisher:
    """Make one step; a restart gives another publisher."""
    kind, *rest = step
    if kind == "edit":
        name, place, group_name, seconds, grants = rest
        changes = {
            "groupName": group_name,
            "cache": {"local": {"hardTTLSeconds": seconds}},
            "consumers": grants,
        }
        entry = an_entry(name, place, changes, created=f"2026-01-0{ord(name) - 96}")
        known.add(entry.key)
        entries[entry.key] = entry
        await publisher.publish(entry)
    elif kind == "remove":
        key = Key(rest[1], rest[0])
        known.discard(key)
        entries.pop(key, None)
        await publisher.withdraw(key)
    elif kind == "damage":
        for data in maps.data.values():
            data.pop("groups-000.json", None)
    elif kind == "outage":
        maps.reachable = not maps.reachable
    else:
        publisher = await owned.enter_async_context(a_publisher(maps, known))
        with contextlib.suppress(Exception):
            await publisher.check(await publisher.existing())
    return publisher


async def test_an_older_version_of_a_group_never_takes_the_place_of_a_newer_one() -> None:
    """Two passes over a group may cross; another life of its name begins anew."""
    maps = ModelMaps()

    def version(seconds: int, **which: Any) -> Entry:
        return an_entry(changes={"cache": {"local": {"hardTTLSeconds": seconds}}}, **which)

    older, newer = version(5, generation=4), version(9, generation=5)
    async with a_publisher(maps, {KEY}) as publisher:
        await publisher.publish(newer)
        assert not publisher.is_current(older)
        await publisher.publish(older)
        assert maps.served("shop") == {"user_facts": ("user-facts", 9)}
        assert publisher.is_current(newer)
        await publisher.publish(version(7, created="2026-06-01"))
        assert maps.served("shop") == {"user_facts": ("user-facts", 7)}


async def test_what_is_being_written_is_not_current_yet() -> None:
    """Whoever asks while a write is under way waits for it, and says nothing before."""
    maps = ModelMaps()
    async with a_publisher(maps, {KEY}) as publisher:
        await publisher.publish(hot(5))
        under_way = asyncio.create_task(publisher.publish(hot(9)))
        await asyncio.sleep(0)
        assert not publisher.is_current(hot(9))
        await publisher.publish(hot(9))
        assert publisher.is_current(hot(9))
        await under_way
    assert maps.writes == 2


async def test_files_beside_a_catalog_are_renewed_and_kept_while_they_cannot_be_read() -> None:
    """Each by itself; only what nobody names any more is taken away. No group is touched by it."""
    maps, beside = ModelMaps(), {AUTHORITY_FILE: "feed", ON_DEMAND_AUTHORITY_FILE: "servers"}
    now: dict[str, str | None] = {**beside}

    def shown() -> dict[str, str]:
        data = maps.data["shop"]
        return {name: data[name] for name in BESIDE if name in data}

    async with a_publisher(maps, {KEY}, lambda: now) as publisher:
        await publisher.publish(an_entry())
        assert shown() == beside
        now[ON_DEMAND_AUTHORITY_FILE] = "renewed"
        now[AUTHORITY_FILE] = None
        await publisher.check(["shop"])
        assert shown() == {AUTHORITY_FILE: "feed", ON_DEMAND_AUTHORITY_FILE: "renewed"}
        writes = publisher.writes
        now[ON_DEMAND_AUTHORITY_FILE] = None
        await publisher.check(["shop"])
        assert publisher.writes == writes
    now[ON_DEMAND_AUTHORITY_FILE] = ""
    async with a_publisher(maps, {KEY}, lambda: now) as publisher:
        await publisher.check(["shop"])
        assert shown() == {AUTHORITY_FILE: "feed"}
        assert maps.served("shop") == {"user_facts": ("user-facts", 60)}


async def test_a_group_that_could_not_be_taken_out_is_said_so_and_tried_again() -> None:
    """What a catalog holds is not known after a failed write: where a group is named, it is read again."""
    maps, known = ModelMaps(), {KEY}
    async with a_publisher(maps, known) as publisher:
        await publisher.publish(an_entry(changes=TO_ADS))
        known.clear()
        maps.reachable = False
        assert not await publisher.withdraw(KEY, ["shop", "ads"])
        maps.reachable = True
        assert maps.served("ads") == {"user_facts": ("user-facts", 60)}
        assert await publisher.withdraw(KEY, ["shop", "ads"])
        assert maps.served("shop") == maps.served("ads") == {}
        writes = publisher.writes
        assert await publisher.withdraw(KEY, ["shop", "ads"])
        assert publisher.writes == writes
