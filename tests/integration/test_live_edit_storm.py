"""Two sidecars whose catalogs are edited at random, each for itself, while both write and read.

Every answer is checked: own writes are read, nothing is older than the bound of the policy in force, `Strong`
groups show the last write, and what is shown follows the reader's own schema. L3 lags like a replica.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from tests.builders import a_group, a_policy
from tests.integration.lagging_store import LAG_SECONDS, LaggingStore
from tests.integration.serving import Core, serving

from pannier.catalog import CatalogGroup
from pannier.policy import CachePolicy
from pannier_sidecar.clock import ManualClock
from pannier_sidecar.tiers.l3_embedded import EmbeddedStore

pytestmark = pytest.mark.redis
STEPS = 700
IDS = ("a", "b")
TICKS = tuple(range(1, 9))
FIRST_SECOND = ManualClock().now_us() // 1_000_000
GROUPS = ("rows", "trips")
SCHEMAS: tuple[dict[str, Any], ...] = (
    {"n": "Int64", "tag": {"type": "String", "default": "0"}},
    {"n": "Int64", "tag": {"type": "String", "default": "0"}, "more": {"type": "Int64", "default": -1}},
    {"n": "Int64", "tag": {"type": "String", "default": "2"}, "more": {"type": "Int64", "default": -1}},
    {"n": "Int64", "tag": {"type": "String", "state": "Removed"}, "more": {"type": "Int64", "default": -2}},
)
Stored = dict[str, int] | None
Register = tuple[str, str, int]
"""Group, id and tick; the tick of a record is 0."""


class Past:
    """Every state that every register ever had, and when it got it."""

    def __init__(self) -> None:
        self.versions: dict[Register, list[tuple[Stored, int]]] = {}
        self._own: dict[tuple[int, Register], int] = {}

    def of(self, register: Register) -> list[tuple[Stored, int]]:
        """From the first one on, which is nothing."""
        return self.versions.setdefault(register, [(None, 0)])

    def wrote(self, sidecar: int, register: Register, stored: Stored, now_us: int) -> None:
        """A sidecar was acknowledged a write."""
        self.of(register).append((stored, now_us))
        self._own[sidecar, register] = len(self.versions[register]) - 1

    def check(  # noqa: PLR0917 (the whole of one observation)
        self, sidecar: int, register: Register, shown: Stored, schema: int, now_us: int, bound_us: int
    ) -> None:
        """What a sidecar may show of a register now."""
        versions = self.of(register)
        matching = [i for i, (stored, _) in enumerate(versions) if _as_shown(stored, schema) == shown]
        assert matching, f"{register} never was {shown} under schema {schema}: {versions}"
        version, last = matching[-1], len(versions) - 1
        assert version >= self._own.get((sidecar, register), 0), f"sidecar {sidecar} lost its own {register}"
        if version < last:
            age_us = now_us - versions[version + 1][1]
            assert age_us <= bound_us, f"{register} is {age_us / 1e6} s behind, bound {bound_us / 1e6} s"


def _as_shown(stored: Stored, schema: int) -> dict[str, Any] | None:
    if stored is None:
        return None
    shown: dict[str, Any] = {"n": stored["n"]}
    if schema < 3:
        shown["tag"] = str(2 if schema == 2 else 0)
    if schema > 0:
        shown["more"] = stored.get("more", -2 if schema == 3 else -1)
    return shown


class Storm:
    """Does and checks one random thing after the other."""

    def __init__(self, cores: tuple[Core, ...], dice: random.Random, lag_seconds: int) -> None:
        self._lag_seconds = lag_seconds
        self._cores = cores
        self._dice = dice
        self._past = Past()
        self._schemas = [0] * len(cores)
        self._groups = [{name: a_storm_group(name, 0, dice) for name in GROUPS} for _ in cores]
        self._written = 0
        for sidecar in range(len(cores)):
            self._deploy(sidecar)

    async def step(self) -> None:
        """Read mostly, write often, edit and let time pass now and then."""
        sidecar = self._dice.randrange(len(self._cores))
        what = self._dice.choices(
            (self._read, self._write, self._edit, self._wait, self._settle), (8, 3, 2, 4, 2)
        )[0]
        await what(sidecar)

    async def _read(self, sidecar: int) -> None:
        core, group = self._cores[sidecar], self._dice.choice(GROUPS)
        plan = core.plan.groups[group]
        (result,) = await core.read({"group": group, "ids": list(IDS)}, explain=self._dice.random() < 0.5)
        bound_us = self._bound_us(plan.policy)
        for row in result["rows"]:
            assert row["status"] in {"found", "missing"}, row
            assert "stale" not in row
            for register, shown in _registers(group, row).items():
                self._past.check(
                    sidecar, register, shown, self._schemas[sidecar], core.clock.now_us(), bound_us
                )

    def _bound_us(self, policy: CachePolicy) -> int:
        if policy.read_consistency == "Strong":
            return 0
        seconds = policy.remote.hard_ttl_seconds
        if not policy.remote.is_served:
            seconds = max(seconds, policy.local.hard_ttl_seconds)
        return (seconds + self._lag_seconds) * 1_000_000

    async def _write(self, sidecar: int) -> None:
        core, row_id = self._cores[sidecar], self._dice.choice(IDS)
        self._written += 1
        features = {"n": self._written} | ({"more": self._written} if self._schemas[sidecar] else {})
        if self._dice.random() < 0.1:
            await self._delete(sidecar, row_id)
        elif self._dice.random() < 0.5:
            assert (await core.write("rows", row_id, features=features)).verdict == "written"
            register = "rows", row_id, 0
            before = self._past.of(register)[-1][0] or {}
            self._past.wrote(sidecar, register, before | features, core.clock.now_us())
        else:
            tick = self._dice.choice(TICKS)
            result = await core.write("trips", row_id, timestamp=FIRST_SECOND + tick, features=features)
            if result.verdict == "written":
                self._past.wrote(sidecar, ("trips", row_id, tick), features, core.clock.now_us())
            else:  # what was deleted at an instant stays so
                assert result.verdict == "ignored_deleted"

    async def _delete(self, sidecar: int, row_id: str) -> None:
        core = self._cores[sidecar]
        if self._dice.random() < 0.5:
            await core.writes.delete(core.plan, "rows", row_id)
            self._past.wrote(sidecar, ("rows", row_id, 0), None, core.clock.now_us())
        else:
            tick = self._dice.choice(TICKS)
            await core.writes.delete(core.plan, "trips", row_id, timestamp=str(FIRST_SECOND + tick))
            self._past.wrote(sidecar, ("trips", row_id, tick), None, core.clock.now_us())

    async def _edit(self, sidecar: int) -> None:
        if self._dice.random() < 0.1:
            self._schemas[sidecar] = min(self._schemas[sidecar] + 1, len(SCHEMAS) - 1)
            edited = list(GROUPS)
        else:
            edited = [self._dice.choice(GROUPS)]
        for name in edited:
            policy = a_changed_policy(self._groups[sidecar][name].policy, self._dice)
            self._groups[sidecar][name] = a_storm_group(name, self._schemas[sidecar], self._dice, policy)
        self._deploy(sidecar)

    def _deploy(self, sidecar: int) -> None:
        self._cores[sidecar].deploy(*self._groups[sidecar].values())

    async def _wait(self, sidecar: int) -> None:
        self._cores[sidecar].clock.advance(self._dice.choice((0.1, 1, 3, 8, 20, 45)))

    async def _settle(self, sidecar: int) -> None:
        await self._cores[sidecar].settle()


def _registers(group: str, row: dict[str, Any]) -> dict[Register, dict[str, Any] | None]:
    """What an answer shows of each register."""
    if group == "rows":
        return {(group, row["id"], 0): row.get("features")}
    shown = {record["timestamp"] - FIRST_SECOND: record["features"] for record in row["records"]}
    return {(group, row["id"], tick): shown.get(tick) for tick in TICKS}


def a_storm_group(
    name: str, schema: int, dice: random.Random, policy: CachePolicy | None = None
) -> CatalogGroup:
    """One of the groups under a schema and a policy, drawn at random if none is given."""
    return a_group(
        name,
        features=SCHEMAS[schema],
        schema_hash=str(schema),
        generation=dice.randrange(1 << 30),
        timeline=name == "trips",
        max_limit=dice.choice((8, 20, 60)) if name == "trips" else None,
        default_limit=8 if name == "trips" else None,
        policy=policy or a_random_policy(dice),
    )


def a_changed_policy(policy: CachePolicy, dice: random.Random) -> CachePolicy:
    """Another one, or the same but for one part of it."""
    other = a_random_policy(dice)
    part = dice.choice(("local", "remote", "write_policy", "read_consistency", "jitter_percent", "all"))
    if part == "all":
        return other
    if part == "remote" and dice.random() < 0.5:
        state = dice.choice(("Disabled", "Shadow")) if policy.remote.is_served else "Enabled"
        return replace(policy, remote=replace(policy.remote, state=state))
    return replace(policy, **{part: getattr(other, part)})


def a_random_policy(dice: random.Random) -> CachePolicy:
    """TTLs from a second to minutes, every state, every write policy."""
    remote_hard = dice.choice((5, 30, 60, 120, 600))
    local_hard = dice.choice([ttl for ttl in (2, 5, 20, 60, 300) if ttl <= remote_hard])
    return a_policy(
        local=dice.choice(("Enabled", "Enabled", "Enabled", "Disabled", "Shadow")),
        remote=dice.choice(("Enabled", "Enabled", "Enabled", "Disabled", "Shadow")),
        local_hard=local_hard,
        local_soft=dice.choice((1, local_hard // 2 or 1, local_hard)),
        local_negative=dice.choice((0, 1, local_hard)),
        remote_hard=remote_hard,
        remote_soft=dice.choice((1, remote_hard // 2, remote_hard)),
        remote_negative=dice.choice((0, 1, remote_hard)),
        stale_if_error=dice.choice((0, 100)),
        write_policy=dice.choice(("WriteThrough", "Invalidate")),
        read_consistency=dice.choice(("Eventual",) * 7 + ("Strong",)),
        jitter_percent=dice.choice((0, 30)),
        early_factor=dice.choice((0.0, 1.0)),
    )


@contextlib.asynccontextmanager
async def a_storm(
    directory: Path, redis_url: str, dice: random.Random, lag_seconds: int, *, listens: bool
) -> AsyncIterator[Storm]:
    """Two cores over one Redis and one store, whose eventual reads may lag; they may hear of each other."""
    clock = ManualClock()
    groups = [a_storm_group(name, 0, dice) for name in GROUPS]
    async with contextlib.AsyncExitStack() as owned:
        inner = await owned.enter_async_context(EmbeddedStore(directory, clock))
        store = LaggingStore(inner, clock, dice) if lag_seconds else inner
        cores = [
            await owned.enter_async_context(
                serving(
                    directory,
                    *groups,
                    redis_url=redis_url,
                    clock=clock,
                    store=store,
                    dice=0.1 + 0.8 * side,
                    listen_url=redis_url if listens else None,
                )
            )
            for side in range(2)
        ]
        yield Storm(tuple(cores), dice, lag_seconds)


@pytest.mark.parametrize("lag_seconds", [0, LAG_SECONDS])
@pytest.mark.parametrize("seed", range(5))
async def test_no_edit_lets_an_answer_pass_the_bound_or_lose_a_write(
    tmp_path: Path, redis_url: str, seed: int, lag_seconds: int
) -> None:
    """Whatever is edited, in whatever order, on whichever sidecar first."""
    async with a_storm(tmp_path, redis_url, random.Random(seed), lag_seconds, listens=seed % 2 > 0) as storm:
        for _ in range(STEPS):
            await storm.step()
