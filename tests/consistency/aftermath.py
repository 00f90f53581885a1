"""After the storm: wait until all is at rest, and put into the history what every tier holds then.

Twice: when nothing is under way any more, and again when the bounds have passed as well. Both are waited for
by looking, up to a deadline; what is found then is recorded, and judged by the laws.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

import aiohttp
from tests.consistency import rows_http
from tests.consistency.fleet import Fleet, Member
from tests.consistency.groups import FEATURES, LONGEST_BOUND_US, MAX_LIMIT, NAMESPACE, is_timeline
from tests.consistency.operations import L2, L3, ROW, ROW_THERE, Held, Operation, Read
from tests.consistency.rows_http import Question
from tests.servers import AWS_TEST_ENVIRONMENT

from pannier.keys import HIGHEST_SORT_KEY, LOWEST_SORT_KEY
from pannier_sidecar.clock import SystemClock
from pannier_sidecar.entry import record, timeline
from pannier_sidecar.entry.record import Kind
from pannier_sidecar.entry.timeline import Timeline
from pannier_sidecar.errors import TierError
from pannier_sidecar.metrics import Metrics
from pannier_sidecar.plan import GroupPlan, ReadPlan
from pannier_sidecar.recent_writes import State
from pannier_sidecar.row import RowKey, TimelineQuery
from pannier_sidecar.specs import catalog_from_directory
from pannier_sidecar.tiers.dynamodb_client import DynamoDBSettings
from pannier_sidecar.tiers.l1_entry import remote_deadlines
from pannier_sidecar.tiers.l2_redis import RedisTier
from pannier_sidecar.tiers.l3_dynamodb import DynamoDBStore

Address = tuple[str, str]
Moment = Literal["calm", "end"]
SETTLE_SECONDS: Final = 20.0
"""What a circuit and a pause between attempts may take, many times over."""
_POLL_SECONDS: Final = 0.1
_IDS_PER_QUESTION: Final = 500
_EVERYTHING: Final = 1 << 20


class Aftermath:
    """Looks at one fleet at rest."""

    def __init__(self, fleet: Fleet, session: aiohttp.ClientSession, specs: Path) -> None:
        self._fleet = fleet
        self._session = session
        self._plan = ReadPlan(catalog_from_directory(specs, revision=1, namespace=NAMESPACE))

    async def record(self, rows: Sequence[Address], *, to_the_end: bool = True) -> list[Operation]:
        """What is there at rest, and what is there in the end."""
        history: list[Operation] = []
        keys = [RowKey(self._plan.groups[group], row_id) for group, row_id in rows]
        async with self._redis() as l2, self._store() as l3:
            await self._until_told()
            truth = await self._said_by_l3(l3, keys)
            history += [self._truth(key, text) for key, text in truth.items()]
            history += self._held("calm", L3, truth)
            history += self._held("calm", L2, await self._said_by_l2(l2, keys))
            if to_the_end:
                history += await self._at_the_end(truth, l2, keys)
        return history

    async def _at_the_end(
        self, truth: dict[RowKey, str], l2: RedisTier, keys: Sequence[RowKey]
    ) -> list[Operation]:
        """Ask all sidecars and Redis until they say what L3 says, or the bounds have long passed."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + LONGEST_BOUND_US / 1_000_000 + SETTLE_SECONDS
        said: dict[str, dict[RowKey, str | None]] = {}
        differing = list(keys)
        while True:
            for member in self._fleet.members:
                said.setdefault(member.via, {}).update(await self._said_by(member, differing))
            said.setdefault(L2, {}).update(await self._said_by_l2(l2, differing))
            differing = [
                key for key in differing if any(held[key] not in {truth[key], None} for held in said.values())
            ]
            if not differing or loop.time() > deadline:
                break
            await asyncio.sleep(_POLL_SECONDS)
        history = self._held("end", L3, truth)
        return [*history, *(one for via, held in said.items() for one in self._held("end", via, held))]

    async def _until_told(self) -> None:
        """Until no sidecar has anything left to tell Redis."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + SETTLE_SECONDS
        for member in self._fleet.members:
            while await self._waits(member) and loop.time() < deadline:  # noqa: ASYNC110 (another process)
                await asyncio.sleep(_POLL_SECONDS)

    async def _waits(self, member: Member) -> int:
        waiting = (await self._fleet.status(self._session, member))["backfill"]
        return int(waiting["queued"] + waiting["unconfirmed"])

    async def _said_by(self, member: Member, keys: Sequence[RowKey]) -> dict[RowKey, str | None]:
        """What a sidecar answers; None where it says that it does not know."""
        said: dict[RowKey, str | None] = {}
        by_group: dict[GroupPlan, list[RowKey]] = {}
        for key in keys:
            by_group.setdefault(key.plan, []).append(key)
        for plan, wanted in by_group.items():
            for at in range(0, len(wanted), _IDS_PER_QUESTION):
                part = wanted[at : at + _IDS_PER_QUESTION]
                question = Question(plan.name, [key.id for key in part])
                reads = await rows_http.read(
                    self._session, self._fleet.recorder, member, "aftermath", [question]
                )
                if len(reads) != len(part):
                    reads = [Read("", "", 0, 0, "", key.id, "unknown") for key in part]
                for key, read in zip(part, reads, strict=True):
                    said[key] = f"({read.status})" if read.status == "unknown" else _text(dict(read.cells))
        return said

    async def _said_by_l2(self, l2: RedisTier, keys: Sequence[RowKey]) -> dict[RowKey, str | None]:
        """What Redis holds and somebody may serve."""
        asked = [key for key in keys if key.plan.policy.remote.state == "Enabled"]
        answers = await l2.read(asked)
        said: dict[RowKey, str | None] = dict.fromkeys(keys)
        now_us = SystemClock().now_us()
        for key, state in zip(asked, answers, strict=True):
            if isinstance(state, TierError):
                raise state
            if state is not None and _is_servable(key.plan, state, now_us):
                said[key] = _shown(state, now_us)
        return said

    async def _said_by_l3(self, l3: DynamoDBStore, keys: Sequence[RowKey]) -> dict[RowKey, str]:
        now_us = SystemClock().now_us()
        records = [key for key in keys if not key.plan.is_timeline]
        lines = [key for key in keys if key.plan.is_timeline]
        said: dict[RowKey, str] = {}
        rows = await l3.read_records(records, strong=True, timeout_seconds=30)
        for key, row in zip(records, rows, strict=True):
            assert not isinstance(row, TierError), row
            said[key] = _shown(record.from_row(row, read_start_us=now_us), now_us) or ""
        queries = [
            TimelineQuery(key.plan, key.id, MAX_LIMIT + 1, LOWEST_SORT_KEY, HIGHEST_SORT_KEY) for key in lines
        ]
        pages = await l3.read_timelines(queries, strong=True, timeout_seconds=30, now_us=now_us)
        for key, page in zip(lines, pages, strict=True):
            assert not isinstance(page, TierError), page
            state = timeline.snapshot(page, read_start_us=now_us, capacity=_EVERYTHING)
            said[key] = _shown(state, now_us) or ""
        return said

    def _truth(self, key: RowKey, text: str) -> Read:
        """What L3 says, as a read that must show every acknowledged write."""
        now_us = self._fleet.recorder.now_us()
        cells: dict[str, str] = json.loads(text)
        is_whole = not is_timeline(key.plan.name) or len(cells) < MAX_LIMIT
        shown_from = 0 if is_whole else min(map(int, cells))
        status = "found" if cells else "missing"
        return Read("aftermath", L3, now_us, now_us, key.plan.name, key.id, status, cells, shown_from)

    def _held(self, moment: Moment, via: str, said: Mapping[RowKey, str | None]) -> list[Held]:
        now_us = self._fleet.recorder.now_us()
        return [Held(moment, via, now_us, key.plan.name, key.id, text) for key, text in said.items()]

    def _redis(self) -> RedisTier:
        return RedisTier(self._fleet.redis.url, clock=SystemClock(), metrics=Metrics(), timeout_seconds=30)

    def _store(self) -> DynamoDBStore:
        return DynamoDBStore(
            DynamoDBSettings(
                endpoint_url=self._fleet.store.url,
                region_name=AWS_TEST_ENVIRONMENT["AWS_DEFAULT_REGION"],
                access_key_id=AWS_TEST_ENVIRONMENT["AWS_ACCESS_KEY_ID"],
                secret_access_key=AWS_TEST_ENVIRONMENT["AWS_SECRET_ACCESS_KEY"],
            )
        )

    def __repr__(self) -> str:
        return f"<Aftermath of {self._fleet!r}>"


def _is_servable(plan: GroupPlan, state: State, now_us: int) -> bool:
    return now_us < remote_deadlines(plan, state.loaded_at_us, 0, negative=False).hard_us


def _shown(state: State, now_us: int) -> str | None:
    """What an entry shows, as text to compare; None = it sends its readers to L3."""
    if isinstance(state, Timeline):
        answer = timeline.answer(
            state, limit=MAX_LIMIT, low=LOWEST_SORT_KEY, high=HIGHEST_SORT_KEY, now_us=now_us
        )
        if answer is None:
            return None
        return _text({str(int(key)): json.loads(state.registers[key].values[0]) for key in answer.sort_keys})
    if state.kind is Kind.MARKER:
        return None
    if not state.is_live(now_us):
        return _text({})
    cells = {FEATURES[feature]: json.loads(value) for feature, value in state.values.items()}
    return _text({**cells, ROW: ROW_THERE})


def _text(cells: dict[str, str]) -> str:
    return json.dumps(cells, sort_keys=True)
