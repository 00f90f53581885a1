"""What eviction and admission of L1 come to on traces: hits and stores, beside LRU and CLOCK.

    .venv/bin/python tools/measure_admission.py [--requests N]

Rows of Pannier are the real L1 behind the real hot path, one id per request, so its thrift in counting reads
is part of the figure; the rivals count every read. The last traces are real: the planes of the flights that
left New York in 2013, in order of departure. The first third of each trace warms up. ADR 0010 holds the
numbers.
"""

from __future__ import annotations

import argparse
import random
import sys
from bisect import bisect_left
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple, Protocol

sys.path.insert(0, str(Path(__file__).parents[1]))

from examples.flights import dataset

from pannier.catalog_building import catalog_from_specs
from pannier.policy import Admission
from pannier_sidecar.api.read_requests import Read, ReadRequest
from pannier_sidecar.entry.record import Kind, Record
from pannier_sidecar.hot_rows import HotRows
from pannier_sidecar.metrics import Metrics
from pannier_sidecar.packing import pack_state
from pannier_sidecar.plan import ReadPlan
from pannier_sidecar.read_shape import ShapeMemo
from pannier_sidecar.specs import manifests_of
from pannier_sidecar.tiers.l1_entry import weight_of
from pannier_sidecar.tiers.l1_local import L1Cache

NOW_US = 1_700_000_000_000_000
REQUESTS = 450_000
WARMUP_SHARE = 1 / 3


class Trace(NamedTuple):
    """Ids in the order in which they are asked for, and how many entries the cache has room for."""

    name: str
    ids: Sequence[str]
    room: int


class Cache(Protocol):
    """Something that answers or stores."""

    @property
    def stores(self) -> int:
        """How often it stored so far."""
        ...

    def request(self, row_id: str) -> bool:
        """Ask for an id; True if it is held. What is not may be stored."""
        ...


class Share(NamedTuple):
    """Of the requests after the warm-up, in percent."""

    hits: float
    stores: float


def replay(cache: Cache, trace: Trace) -> Share:
    """Send a trace to a cache."""
    warmup = int(len(trace.ids) * WARMUP_SHARE)
    for row_id in trace.ids[:warmup]:
        cache.request(row_id)
    stores = cache.stores
    hits = sum(map(cache.request, trace.ids[warmup:]))
    count = len(trace.ids) - warmup
    return Share(100 * hits / count, 100 * (cache.stores - stores) / count)


class Lru:
    """Least recently used leaves first."""

    def __init__(self, room: int) -> None:
        self.stores = 0
        self._room = room
        self._held: OrderedDict[str, None] = OrderedDict()

    def request(self, row_id: str) -> bool:
        """See `Cache`."""
        if row_id in self._held:
            self._held.move_to_end(row_id)
            return True
        self.stores += 1
        self._held[row_id] = None
        if len(self._held) > self._room:
            self._held.popitem(last=False)
        return False


class Clock:
    """A ring and one bit per id; ``noticed`` is the share of reads that set it (L1 had this with 1/16)."""

    def __init__(self, room: int, noticed: float = 1.0) -> None:
        self.stores = 0
        self._room = room
        self._noticed = noticed
        self._dice = random.Random(9).random
        self._was_read: dict[str, bool] = {}
        self._ring: deque[str] = deque()

    def request(self, row_id: str) -> bool:
        """See `Cache`."""
        if row_id in self._was_read:
            if self._dice() < self._noticed:
                self._was_read[row_id] = True
            return True
        self.stores += 1
        self._was_read[row_id] = False
        self._ring.append(row_id)
        while len(self._was_read) > self._room:
            first = self._ring.popleft()
            if self._was_read[first]:
                self._was_read[first] = False
                self._ring.append(first)
            else:
                del self._was_read[first]
        return False


class Pannier:
    """L1 as the sidecar has it: the hot path answers, a miss takes in what a load would bring."""

    def __init__(self, room: int, admission: Admission = "Always") -> None:
        self._dice = random.Random(9).random
        metrics = Metrics()
        self._pack = pack_state(plan_of(1 << 30, admission).groups["trace"], "id-0000000", ROW, NOW_US)
        entry = L1Cache(1 << 30).make(plan_of(1 << 30, admission).groups["trace"], self._pack, NOW_US)
        self._plan = plan_of(room * weight_of("id-0000000", entry), admission)
        self._group = self._plan.groups["trace"]
        self.l1 = L1Cache(1 << 40, dice=self._dice)
        self._shapes = ShapeMemo(self._plan)
        self._hot = HotRows(self.l1, metrics, lambda *_: None, self._dice)

    @property
    def stores(self) -> int:
        """Entries taken in for ids that were not held."""
        return self.l1.segment(self._group).stores

    def request(self, row_id: str) -> bool:
        """See `Cache`."""
        request = ReadRequest((Read("trace", (row_id,)),))
        if self._hot.answer(request, self._shapes, NOW_US) is not None:
            return True
        self.l1.put_loaded(self._group, row_id, self._pack, NOW_US)
        return False


ROW = Record(Kind.FOUND, NOW_US, NOW_US, NOW_US, None, {0: b'"' + b"x" * 200 + b'"'})
_MANIFEST = """
apiVersion: pannier.dev/v1alpha1
kind: FeatureGroup
metadata: {{name: trace}}
spec:
  groupName: trace
  key: {{entity: user}}
  features: [{{id: 0, name: text, type: String}}]
  storage: {{mode: Dedicated}}
  cache:
    profile: Hot
    local: {{maxBytes: {max_bytes}}}
    advanced: {{admission: {{local: {admission}}}}}
"""


def plan_of(max_bytes: int, admission: Admission) -> ReadPlan:
    """Compile the group of the traces, with this much room."""
    text = _MANIFEST.format(max_bytes=max_bytes, admission=admission)
    groups = [manifest.group for manifest in manifests_of(text.encode(), "trace.yaml").groups]
    return ReadPlan(catalog_from_specs(groups, revision=1))


def zipf_ids(  # noqa: PLR0913 (what a trace is made of)
    seed: int,
    requests: int,
    *,
    ids: int,
    exponent: float,
    one_hit_share: float = 0.0,
    turns_after: int | None = None,
) -> list[str]:
    """Draw ids by Zipf; a share is asked for once and never again; after each turn all ids are others."""
    dice = random.Random(seed)
    cumulative = list(accumulate((rank + 1) ** -exponent for rank in range(ids)))

    def draw() -> Iterator[str]:
        turn = 0
        for number in range(requests):
            if turns_after is not None:
                turn = number // turns_after
            if dice.random() < one_hit_share:
                yield f"once-{number:07d}"
            else:
                rank = bisect_left(cumulative, dice.random() * cumulative[-1])
                yield f"id-{turn}-{rank:07d}"

    return list(draw())


def flights_in_order(months: Sequence[int] = dataset.MONTHS) -> list[str]:
    """List the planes of all flights of these months of 2013 by scheduled departure."""
    flights = dataset.flights_by_month(dataset.data_directory())
    lines = [line for month in months for line in dataset.parse(flights[month]) if line["tailnum"]]
    lines.sort(key=lambda line: (line["time_hour"], int(line["minute"])))
    return [line["tailnum"] for line in lines]


def traces(requests: int) -> Iterator[Trace]:
    """All traces, made one by one."""
    mixed = zipf_ids(1, requests, ids=20_000, exponent=0.9)
    yield Trace("Zipf 0.9 of 20,000, room for 45 %", mixed, 9_000)
    for room in (1_000, 10_000):
        ids = zipf_ids(2, requests, ids=100_000, exponent=0.9, one_hit_share=0.3)
        yield Trace(f"Zipf 0.9 of 100,000, 30 % once, room for {room // 1_000} %", ids, room)
    ids = zipf_ids(3, requests, ids=50_000, exponent=0.9, one_hit_share=0.3, turns_after=requests // 4)
    yield Trace("the same of 50,000, all ids turn thrice, room for 4 %", ids, 2_000)
    yield Trace("planes of 2013 in order, room for 5 %", flights_in_order(), 200)
    yield Trace("planes of 2013 in order, room for 20 %", flights_in_order(), 800)


CACHES: dict[str, Callable[[int], Cache]] = {
    "LRU": Lru,
    "CLOCK": Clock,
    "CLOCK, 1 of 16 reads": lambda room: Clock(room, 1 / 16),
    "Pannier, Always": Pannier,
    "Pannier, OnSecondHit": lambda room: Pannier(room, "OnSecondHit"),
}


def main() -> None:
    """Print a table in Markdown: hits / stores in percent of requests."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=REQUESTS)
    requests = parser.parse_args().requests
    print("| hits / stores, % of requests |", " | ".join(CACHES), "|")
    print("|---|" + "---|" * len(CACHES))
    for trace in traces(requests):
        shares = [replay(make(trace.room), trace) for make in CACHES.values()]
        print(
            f"| {trace.name} |", " | ".join(f"{s.hits:.1f} / {s.stores:.1f}" for s in shares), "|", flush=True
        )


if __name__ == "__main__":
    main()
