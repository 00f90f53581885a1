"""Leases on a real Redis: one holder at a time, seen together with what is held, let go by nobody else."""

from __future__ import annotations

import asyncio

import pytest
from tests.builders import a_plan
from tests.integration.l2_support import NOW_US, Counts, a_record, a_tier, clicker, user
from tests.integration.test_l2_cluster import ClusterNode, cluster_url, node
from tests.integration.test_l2_redis import a_client, a_look
from tests.servers import RedisServer

from pannier.keys import lease_key
from pannier_sidecar.entry.record import Record
from pannier_sidecar.entry.timeline import Timeline
from pannier_sidecar.errors import TierError
from pannier_sidecar.lease import Claimed, Lease
from pannier_sidecar.row import RowKey
from pannier_sidecar.tiers import l2_leases

pytestmark = pytest.mark.redis

__all__ = ["node"]
"""The fixture of the cluster."""


def a_lease(key: RowKey, holder: str = "me", kept_ms: int = 60_000) -> Lease:
    return Lease(key, holder, kept_ms)


def won(entry: Record | Timeline | None = None) -> Claimed:
    return Claimed(won=True, entry=entry)


def lost(entry: Record | Timeline | None = None) -> Claimed:
    return Claimed(won=False, entry=entry)


def name_of(key: RowKey) -> str:
    return lease_key(key.plan.cache_prefix, key.id)


async def test_one_of_two_gets_the_lease_and_both_see_what_is_held(redis_url: str) -> None:
    """Records and timelines, held or not, in the order asked."""
    keys = [user(1), clicker(1), user(2), clicker(2)]
    held = [a_record(), a_look(5), None, None]
    async with a_tier(redis_url) as tier:
        await tier.merge([(user(1), a_record()), (clicker(1), a_look(5))])
        mine = await tier.lease([a_lease(key) for key in keys[:2]])
        theirs = await tier.lease([a_lease(key, "you") for key in keys])
        assert mine == [won(entry) for entry in held[:2]]
        assert theirs == [lost(held[0]), lost(held[1]), won(), won()]


async def test_of_many_who_ask_at_once_exactly_one_wins_each_key(redis_url: str) -> None:
    """However their commands interleave."""
    keys = [user(i) for i in range(20)]
    async with a_tier(redis_url) as tier:
        asked = (tier.lease([a_lease(key, f"holder {i}") for key in keys]) for i in range(20))
        answers = await asyncio.gather(*asked)
        assert all(sum(bool(answer[i].won) for answer in answers) == 1 for i in range(20))


async def test_who_holds_a_lease_and_asks_again_holds_it_still(redis_url: str) -> None:
    """A command that is sent twice because its answer was lost does not lose to itself."""
    async with a_tier(redis_url) as tier:
        for _ in range(2):
            [claim] = await tier.lease([a_lease(user(1))])
            assert claim.won


async def test_a_lease_ends_by_itself(redis_url: str) -> None:
    """It lives as long as was asked for, and asking again does not lengthen it."""
    async with a_tier(redis_url) as tier, a_client(redis_url) as client:
        await tier.lease([a_lease(user(1), kept_ms=50_000), a_lease(user(2), kept_ms=9_000)])
        await tier.lease([a_lease(user(1), kept_ms=90_000)])
        assert 45_000 < await client.pttl(name_of(user(1))) <= 50_000
        assert 5_000 < await client.pttl(name_of(user(2))) <= 9_000


async def test_whoever_gets_the_lease_next_sees_what_its_holder_brought(redis_url: str) -> None:
    """Entry first, lease behind it: nobody can find the lease free and the entry missing."""
    async with a_tier(redis_url) as tier:
        await tier.lease([a_lease(user(1))])
        assert await tier.merge([(user(1), a_record())], [a_lease(user(1))]) == [None]
        assert await tier.lease([a_lease(user(1), "you")]) == [won(a_record())]


async def test_a_lease_of_somebody_else_is_left_alone_and_counted(redis_url: str) -> None:
    """Ours had run out before the load ended; the next holder keeps its own."""
    counts = Counts()
    async with a_tier(redis_url, counts=counts) as tier, a_client(redis_url) as client:
        await client.set(name_of(user(1)), "you", px=60_000)
        await tier.lease([a_lease(user(2)), a_lease(clicker(1))])
        leases = [a_lease(user(1)), a_lease(user(2)), a_lease(clicker(1)), a_lease(clicker(2))]
        assert await tier.merge([(user(1), a_record())], leases) == [None]
        assert await client.get(name_of(user(1))) == b"you"
        assert await client.exists(name_of(user(2)), name_of(clicker(1))) == 0
        assert counts.leases == {"users/expired": 1, "clicks/expired": 1}


async def test_leases_can_be_let_go_with_nothing_to_merge(redis_url: str) -> None:
    """One round trip, no entry."""
    async with a_tier(redis_url) as tier, a_client(redis_url) as client:
        await tier.lease([a_lease(user(1))])
        assert await tier.merge([], [a_lease(user(1))]) == []
        assert await client.dbsize() == 0


async def test_a_redis_that_lost_its_scripts_still_orders_entry_and_lease(redis_url: str) -> None:
    """After SCRIPT FLUSH nobody sees the lease free before the entry is there."""
    async with a_tier(redis_url) as tier, a_client(redis_url) as client:
        await client.script_flush()
        assert await tier.lease([a_lease(user(1))]) == [won()]
        await client.script_flush()
        seen: list[list[bytes | None]] = []

        async def watch() -> None:
            while not seen or seen[-1][0] == b"me":
                seen.append(await client.mget(name_of(user(1)), f"{user(1).plan.cache_prefix}{{1}}"))

        watching = asyncio.create_task(watch())
        assert await tier.merge([(user(1), a_record())], [a_lease(user(1))]) == [None]
        await watching
        assert seen[-1][0] is None
        assert seen[-1][1] is not None


async def test_large_batches_are_cut_and_put_together(redis_url: str) -> None:
    """More timelines than one round trip carries."""
    keys = [clicker(i) if i % 2 else user(i) for i in range(300)]
    async with a_tier(redis_url, timeout=10) as tier:
        await tier.merge([(user(i), a_record(NOW_US + i)) for i in range(0, 300, 2)])
        claims = await tier.lease([a_lease(key) for key in keys])
        assert claims == [won(None if i % 2 else a_record(NOW_US + i)) for i in range(300)]


async def test_a_group_that_stores_nothing_takes_no_lease(redis_url: str) -> None:
    """Not even the ids that are looked for reach Redis."""
    secret = RowKey(a_plan("live", storage_mode="None"), "1")
    async with a_tier(redis_url) as tier, a_client(redis_url) as client:
        with pytest.raises(AssertionError, match="stores nothing"):
            await tier.lease([a_lease(secret)])
        assert await client.dbsize() == 0


async def test_without_redis_nobody_knows_who_holds_what(redis_server: RedisServer) -> None:
    """Neither won nor lost, so that nobody waits."""
    async with a_tier(redis_server.url) as tier:
        redis_server.kill()
        for _ in range(2):
            [claim] = await tier.lease([a_lease(user(1))])
            assert claim.won is None
            assert isinstance(claim.entry, TierError)


async def test_a_redis_that_takes_no_writes_hands_out_no_leases(redis_server: RedisServer) -> None:
    """Out of memory, say: what it holds is still read, and nobody waits for a lease it cannot give."""
    counts = Counts()
    async with a_tier(redis_server.url, counts=counts) as tier, a_client(redis_server.url) as client:
        await tier.merge([(user(1), a_record())])
        await client.config_set("maxmemory", "1")
        assert await tier.lease([a_lease(user(1))]) == [Claimed(None, a_record())]
        assert counts.errors == {"l2/TierUnavailable": 1}


async def test_leases_on_a_cluster(node: ClusterNode) -> None:
    """Keys of many slots, ids with braces included, one script call for each."""
    keys = [*(user(i) for i in range(20)), RowKey(user(1).plan, "}odd{"), RowKey(user(1).plan, "a}b")]
    async with a_tier(cluster_url(node)) as tier:
        mine = [a_lease(key) for key in keys]
        assert await tier.lease(mine) == [won()] * len(keys)
        assert await tier.lease([a_lease(key, "you") for key in keys]) == [lost()] * len(keys)
        assert await tier.merge([(key, a_record()) for key in keys], mine) == [None] * len(keys)
        assert [c.won for c in await tier.lease([a_lease(key, "you") for key in keys])] == [True] * len(keys)


@pytest.mark.parametrize(
    ("replies", "flags"),
    [
        ([[1, 0, 1]], [True, False, True]),
        ([[1], [0], [1]], [True, False, True]),
        ([[1], RuntimeError("MOVED"), [0]], [True, None, False]),
        ([[1, 0]], [None] * 3),
        ([[1, 0, b"x"]], [True, False, None]),
        ([b"OK"], [None] * 3),
        ([], [None] * 3),
    ],
)
def test_an_answer_that_makes_no_sense_is_no_answer(replies: list[object], flags: list[bool | None]) -> None:
    """Neither won nor lost, where Redis says something else than 1 or 0 for each key."""
    assert l2_leases.flags(replies, 3) == flags
