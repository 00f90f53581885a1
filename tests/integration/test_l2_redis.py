"""The Redis tier on a real Redis: what it reads and merges, and what it says when Redis fails."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from redis.asyncio import Redis
from tests.builders import a_plan
from tests.integration.l2_support import (
    CLICKS,
    NOW_US,
    USERS,
    Counts,
    a_click,
    a_record,
    a_tier,
    clicker,
    user,
)
from tests.servers import RedisServer

from pannier_sidecar.clock import ManualClock
from pannier_sidecar.entry import timeline
from pannier_sidecar.entry.record import Kind, Record, from_row, marker
from pannier_sidecar.entry.timeline import Timeline
from pannier_sidecar.errors import TierError, TierMisconfigured, TierTimeout, TierUnavailable
from pannier_sidecar.row import Row, RowKey, TimelinePage

pytestmark = pytest.mark.redis


def a_look(*seconds: int, read_start_us: int = NOW_US) -> Timeline:
    """Take a look at a whole timeline with these clicks."""
    rows = tuple(a_click(second, NOW_US - 10**9) for second in sorted(seconds, reverse=True))
    page = TimelinePage(rows, None, exhausted=True)
    return timeline.snapshot(page, read_start_us=read_start_us, capacity=CLICKS.register_capacity)


@contextlib.asynccontextmanager
async def a_client(url: str) -> AsyncIterator[Any]:
    client: Any = Redis.from_url(url, protocol=2)
    try:
        yield client
    finally:
        await client.aclose()


async def test_a_batch_across_groups_comes_back_in_the_order_asked(redis_url: str) -> None:
    """Records, timelines, keys nobody stored and duplicates, unknown features included."""
    found, look, asked = a_record(), a_look(5, 7), marker(NOW_US, NOW_US)
    async with a_tier(redis_url) as tier:
        assert await tier.merge([(user(1), found), (clicker(1), look), (user(2), asked)]) == [None] * 3
        keys = [clicker(1), user(1), user(3), clicker(3), user(2), user(1)]
        assert await tier.read(keys) == [look, found, None, None, asked, found]


async def test_groups_of_one_id_do_not_meet_and_neither_do_namespaces(redis_url: str) -> None:
    """The key holds the namespace and the group besides the id."""
    abroad = RowKey(a_plan("users", namespace="elsewhere"), "1")
    async with a_tier(redis_url) as tier:
        await tier.merge([(user(1), a_record())])
        assert await tier.read([abroad, clicker(1)]) == [None, None]


@pytest.mark.parametrize("count", [0, 1, 2, 1203])
async def test_batches_of_any_size(redis_url: str, count: int) -> None:
    """Large ones are cut into several round trips and put together again."""
    keys = [user(i) if i % 3 else clicker(i) for i in range(count)]
    entries = [a_record(NOW_US + i) if i % 3 else a_look(i + 1) for i in range(count)]
    async with a_tier(redis_url, timeout=10) as tier:
        assert await tier.merge(list(zip(keys, entries, strict=True))) == [None] * count
        assert await tier.read(keys) == entries


async def test_an_older_state_never_replaces_a_newer_one(redis_url: str) -> None:
    """Not even within one batch."""
    newer, older = a_record(NOW_US + 2), a_record(NOW_US + 1)
    async with a_tier(redis_url) as tier:
        assert await tier.merge([(user(1), newer), (user(1), older)]) == [None, None]
        assert await tier.read([user(1)]) == [newer]


async def test_one_click_joins_a_timeline_without_its_coverage(redis_url: str) -> None:
    """A write is merged into what is there; where nothing is, it answers nothing."""
    write = timeline.delta_from_row(a_click(9), loaded_at_us=NOW_US)
    async with a_tier(redis_url) as tier:
        await tier.merge([(clicker(1), a_look(5, 7)), (clicker(1), write), (clicker(2), write)])
        joined, alone = await tier.read([clicker(1), clicker(2)])
    assert joined == timeline.merge(a_look(5, 7), write, CLICKS.register_capacity)
    assert isinstance(alone, Timeline)
    assert timeline.answer(alone, limit=1, low="0", high="~", now_us=NOW_US) is None


async def test_a_fence_takes_the_erased_values_out_of_redis(redis_url: str) -> None:
    """An erased id leaves no byte of its rows behind, nor can a slow look bring them back."""
    fence = a_click(8, NOW_US + 5)
    erased = timeline.delta("~", from_row(fence, read_start_us=NOW_US))
    async with a_tier(redis_url) as tier:
        await tier.merge([(clicker(1), a_look(5, 7)), (clicker(1), erased), (clicker(1), a_look(5, 7))])
        [held] = await tier.read([clicker(1)])
    assert isinstance(held, Timeline)
    assert set(held.registers) == {"~"}


async def test_loaded_at_is_never_ahead_of_this_sidecars_clock(redis_url: str) -> None:
    """An entry of a sidecar whose clock is ahead is as old as now, not younger."""
    ahead_us = NOW_US + 90_000_000
    async with a_tier(redis_url, clock=ManualClock(NOW_US)) as tier:
        await tier.merge([(user(1), a_record(loaded_at_us=ahead_us))])
        await tier.merge([(clicker(1), a_look(5, read_start_us=ahead_us))])
        one, other = await tier.read([user(1), clicker(1)])
    assert isinstance(one, Record)
    assert isinstance(other, Timeline)
    assert one.loaded_at_us == other.loaded_at_us == other.registers["0000000005"].loaded_at_us == NOW_US


async def test_redis_keeps_entries_as_long_as_they_may_be_served_stale(redis_url: str) -> None:
    """Hard TTL plus stale-if-error for values, the negative TTL for Missing, a minute at least for guards."""
    entries: dict[RowKey, tuple[Record | Timeline, int]] = {
        user(1): (a_record(), 360_000),
        user(2): (a_record(kind=Kind.MISSING), 5_000),
        user(3): (a_record(kind=Kind.TOMBSTONE), 60_000),
        user(4): (marker(NOW_US, NOW_US), 60_000),
        clicker(1): (a_look(5), 360_000),
        clicker(2): (a_look(), 5_000),
        clicker(3): (timeline.delta_from_row(a_click(9), loaded_at_us=NOW_US), 60_000),
    }
    async with a_tier(redis_url) as tier, a_client(redis_url) as client:
        await tier.merge([(key, entry) for key, (entry, _) in entries.items()])
        for key, (_, kept_ms) in entries.items():
            left_ms = await client.pttl(f"{key.plan.cache_prefix}{{{key.id}}}")
            assert kept_ms - 5_000 < left_ms <= kept_ms


async def test_a_write_does_not_shorten_the_life_of_a_timeline(redis_url: str) -> None:
    """A minute's guard merged into an entry kept for six leaves it at six."""
    write = timeline.delta_from_row(a_click(9), loaded_at_us=NOW_US)
    async with a_tier(redis_url) as tier, a_client(redis_url) as client:
        await tier.merge([(clicker(1), a_look(5)), (clicker(1), write)])
        assert await client.pttl(f"{CLICKS.cache_prefix}{{1}}") > 300_000
        await tier.merge([(clicker(2), write), (clicker(2), a_look(5))])
        assert await client.pttl(f"{CLICKS.cache_prefix}{{2}}") > 300_000


@pytest.mark.parametrize("foreign", [b"", b"x", b"\x00" * 34, b"\xff" * 40, b'{"json": 1}' * 9])
async def test_foreign_bytes_are_a_miss_counted_and_replaced(redis_url: str, foreign: bytes) -> None:
    """Whatever is under the key, a request sees a miss and the next merge heals it."""
    counts = Counts()
    async with a_tier(redis_url, counts=counts) as tier, a_client(redis_url) as client:
        await client.set(f"{USERS.cache_prefix}{{1}}", foreign)
        await client.hset(f"{CLICKS.cache_prefix}{{1}}", mapping={b"meta": foreign, b"0000000001": foreign})
        assert await tier.read([user(1), clicker(1)]) == [None, None]
        assert counts.errors == {"l2/EnvelopeUnreadable": 2}
        assert await tier.merge([(user(1), a_record()), (clicker(1), a_look(5))]) == [None, None]
        assert await tier.read([user(1), clicker(1)]) == [a_record(), a_look(5)]


async def test_a_foreign_register_inside_a_timeline_is_a_miss_and_replaced_by_a_look(redis_url: str) -> None:
    """What the bytes hid cannot be known, so the whole entry goes."""
    counts = Counts()
    async with a_tier(redis_url, counts=counts) as tier, a_client(redis_url) as client:
        await tier.merge([(clicker(1), a_look(5, 7))])
        await client.hset(f"{CLICKS.cache_prefix}{{1}}", "0000000007", b"garbage")
        assert await tier.read([clicker(1)]) == [None]
        later = a_look(5, 6, read_start_us=NOW_US + 1)
        assert await tier.merge([(clicker(1), later)]) == [None]
        assert await tier.read([clicker(1)]) == [later]


async def test_another_type_under_the_key_is_a_miss_and_replaced(redis_url: str) -> None:
    """A group that was declared anew as the other kind meets the keys of its former life."""
    counts = Counts()
    async with a_tier(redis_url, counts=counts) as tier, a_client(redis_url) as client:
        await client.hset(f"{USERS.cache_prefix}{{1}}", "a", "b")
        await client.set(f"{CLICKS.cache_prefix}{{1}}", "x")
        assert await tier.read([user(1), clicker(1), user(2)]) == [None, None, None]
        assert await tier.merge([(user(1), a_record()), (clicker(1), a_look(5))]) == [None, None]
        assert await tier.read([user(1), clicker(1)]) == [a_record(), a_look(5)]
        assert tier.state == "closed"


async def test_a_redis_that_lost_its_scripts_is_given_them_again(redis_url: str) -> None:
    """SCRIPT FLUSH (or a restart) costs one more round trip, not a merge."""
    async with a_tier(redis_url) as tier, a_client(redis_url) as client:
        await client.script_flush()
        assert await tier.merge([(user(1), a_record()), (user(2), a_record())]) == [None, None]
        assert await tier.read([user(1), user(2)]) == [a_record(), a_record()]


async def test_a_group_that_stores_nothing_issues_no_command(redis_url: str) -> None:
    """Not even its ids reach Redis: the call is refused before anything is sent."""
    secret = RowKey(a_plan("live", storage_mode="None"), "1")
    async with a_tier(redis_url) as tier, a_client(redis_url) as client:
        with pytest.raises(AssertionError, match="stores nothing"):
            await tier.read([user(1), secret])
        with pytest.raises(AssertionError, match="stores nothing"):
            await tier.merge([(secret, a_record())])
        assert await client.dbsize() == 0


def faults(answers: Sequence[Record | Timeline | TierError | None]) -> set[type]:
    return {type(answer) for answer in answers}


async def test_an_absent_redis_is_unavailable_at_once_and_found_when_it_comes() -> None:
    """The tier starts without Redis, says so per key, stops trying, and closes the circuit by itself."""
    counts, clock = Counts(), ManualClock()
    with RedisServer() as server:
        server.kill()
        async with a_tier(server.url, counts=counts, clock=clock) as tier:
            assert faults(await tier.read([user(1), clicker(1)])) == {TierUnavailable}
            assert faults(await tier.merge([(user(1), a_record())])) == {TierUnavailable}
            assert faults(await tier.read([user(1)])) == {TierUnavailable}
            assert faults(await tier.merge([(user(1), a_record())])) == {TierUnavailable}
            assert counts.errors == {"l2/TierUnavailable": 2}, "one a lane: the others were not tried"
            assert tier.state == "open"
            server.restart()
            assert faults(await tier.read([user(1)])) == {TierUnavailable}
            clock.advance(0.2)
            assert await tier.read([user(1), clicker(1)]) == [None, None]
            assert counts.circuits == ["closed", "open", "half_open", "closed"]


async def test_merges_do_not_wait_out_their_pause_when_reads_find_redis_back() -> None:
    """Else every sidecar would load for itself: leases and backfills go the way of merges."""
    counts, clock = Counts(), ManualClock()
    with RedisServer() as server:
        server.kill()
        async with a_tier(server.url, counts=counts, clock=clock) as tier:
            for _ in range(4):
                assert faults(await tier.merge([(user(1), a_record())])) == {TierUnavailable}
                clock.advance(2)
            assert faults(await tier.merge([(user(1), a_record())])) == {TierUnavailable}
            assert faults(await tier.read([user(1)])) == {TierUnavailable}
            server.restart()
            clock.advance(0.15)
            assert counts.write_circuits[-1] == "open"
            assert faults(await tier.merge([(user(1), a_record())])) == {TierUnavailable}
            assert await tier.read([user(1)]) == [None]
            assert await tier.merge([(user(1), a_record())]) == [None]


async def test_a_hanging_redis_costs_three_timeouts_and_then_nothing(redis_server: RedisServer) -> None:
    """A stopped process makes the first calls wait; then they are refused without waiting."""
    clock = ManualClock()
    async with a_tier(redis_server.url, clock=clock, timeout=0.2) as tier:
        await tier.merge([(user(1), a_record(loaded_at_us=clock.now_us()))])
        redis_server.pause()
        for _ in range(3):
            assert faults(await tier.read([user(1)])) == {TierTimeout}
        async with asyncio.timeout(0.1):
            assert faults(await tier.read([user(1)])) == {TierUnavailable}
        redis_server.resume()
        clock.advance(1)
        assert await tier.read([user(1)]) == [a_record(loaded_at_us=1_700_000_000_000_000)]


async def test_a_redis_killed_under_load_fails_calls_and_recovers(redis_server: RedisServer) -> None:
    """Calls under way end with an answer for every key, and the tier works again with the new process."""
    clock = ManualClock()
    async with a_tier(redis_server.url, clock=clock) as tier:
        await tier.merge([(user(i), a_record()) for i in range(100)])
        calls = [asyncio.create_task(tier.read([user(i) for i in range(100)])) for _ in range(50)]
        await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        redis_server.kill()
        answers = await asyncio.gather(*calls)
        assert all(len(answer) == 100 for answer in answers)
        assert all(None not in answer for answer in answers)
        redis_server.restart()
        clock.advance(1)
        assert await tier.read([user(1)]) == [None]
        assert tier.state == "closed"


async def test_idle_connections_of_a_former_redis_cost_no_failure(redis_server: RedisServer) -> None:
    """After a restart that nobody noticed, the first call succeeds."""
    async with a_tier(redis_server.url) as tier:
        await asyncio.gather(*(tier.read([user(i)]) for i in range(20)))
        redis_server.kill()
        redis_server.restart()
        assert await tier.read([user(1)]) == [None]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x00\xff\x16\x03nonsense",
        b"+OK\r\n" * 50,
        b"*1\r\n:5\r\n" * 50,
        b":1\r\n" * 50,
        b"$-1\r\n" * 50,
        b"*-1\r\n" * 50,
        b"-ERR who are you\r\n" * 50,
        b"-WRONGTYPE of everything\r\n" * 50,
        b"-LOADING the dataset\r\n" * 50,
        b"-READONLY replica\r\n" * 50,
        b"%1\r\n+a\r\n+b\r\n" * 50,
        b"",
    ],
)
async def test_a_server_that_answers_nonsense_is_an_answer_too(answer: bytes) -> None:
    """No exception leaves the tier; keys are unknown or missed, never made up."""

    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while await reader.read(4096):
                writer.write(answer)
                await writer.drain()
                if not answer:
                    break
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, a_tier(f"redis://127.0.0.1:{port}", timeout=0.3) as tier:
        answers = await tier.read([user(1), clicker(1), user(2), clicker(2)])
        outcomes = await tier.merge([(user(1), a_record())])
    assert len(answers) == 4
    assert all(answer is None or isinstance(answer, TierError) for answer in answers)
    assert all(outcome is None or isinstance(outcome, TierError) for outcome in outcomes)


async def test_wrong_credentials_are_misconfiguration_and_never_shown(redis_server: RedisServer) -> None:
    """A person has to act, and the message may be pasted into a ticket."""
    async with a_client(redis_server.url) as client:
        await client.config_set("requirepass", "s3cret")
    for userinfo in ("", ":wr0ng@", "someone:wr0ng@"):
        async with a_tier(redis_server.url.replace("//", f"//{userinfo}")) as tier:
            [fault] = await tier.read([user(1)])
            assert isinstance(fault, TierMisconfigured)
            assert "wr0ng" not in f"{fault}{tier!r}"
    async with a_tier(redis_server.url.replace("//", "//:s3cret@")) as tier:
        assert await tier.read([user(1)]) == [None]
        assert "s3cret" not in repr(tier)


async def test_a_full_redis_refuses_merges_but_reads_go_on(redis_server: RedisServer) -> None:
    """Out of memory is a fault of the write, not an outage of the tier."""
    async with a_tier(redis_server.url) as tier, a_client(redis_server.url) as client:
        await tier.merge([(user(1), a_record())])
        await client.config_set("maxmemory", "1")
        assert [type(outcome) for outcome in await tier.merge([(user(2), a_record())])] == [TierUnavailable]
        assert await tier.read([user(1), user(2)]) == [a_record(), None]
        assert tier.state == "closed"


async def test_a_primary_that_became_a_replica_is_left_by_its_connections(redis_server: RedisServer) -> None:
    """After a failover the name may lead elsewhere: the old connections must not be kept."""
    clock, counts = ManualClock(), Counts()
    async with (
        a_tier(redis_server.url, clock=clock, counts=counts) as tier,
        a_client(redis_server.url) as client,
    ):
        await tier.merge([(user(1), a_record())])
        await client.execute_command("REPLICAOF", "127.0.0.1", "1")
        assert faults(await tier.merge([(user(1), a_record(NOW_US + 1))])) == {TierUnavailable}
        assert (counts.write_circuits[-1], tier.state) == ("open", "closed")
        await client.execute_command("REPLICAOF", "NO", "ONE")
        before = (await client.info("stats"))["total_connections_received"]
        clock.advance(1)
        assert await tier.merge([(user(1), a_record(NOW_US + 1))]) == [None]
        assert (await client.info("stats"))["total_connections_received"] == before + 1


async def test_large_entries_go_in_parts_that_fit_their_timeout(redis_url: str) -> None:
    """Thirty timelines of 8 KB records are many round trips, in the order given."""
    plan = a_plan("wide", timeline=True, max_limit=50)
    rows = [
        Row(f"{second:010d}", NOW_US - 10**9, second, {}, {0: b"x" * 8192}) for second in range(66, 0, -1)
    ]
    page = TimelinePage(tuple(rows), None, exhausted=True)
    look = timeline.snapshot(page, read_start_us=NOW_US, capacity=plan.register_capacity)
    keys = [RowKey(plan, str(i)) for i in range(30)]
    async with a_tier(redis_url, timeout=0.5) as tier:
        assert await tier.merge([(key, look) for key in keys]) == [None] * 30
        assert await tier.read([*keys, user(1)]) == [*[look] * 30, None]


async def test_a_cancelled_call_leaves_a_working_connection(redis_server: RedisServer) -> None:
    """A reply that nobody waited for is never given to the next caller."""
    async with a_tier(redis_server.url) as tier:
        await tier.merge([(user(i), a_record(NOW_US + i)) for i in range(3)])
        redis_server.pause()
        call = asyncio.create_task(tier.read([user(1)]))
        for _ in range(5):
            await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        redis_server.resume()
        assert await tier.read([user(2)]) == [a_record(NOW_US + 2)]
