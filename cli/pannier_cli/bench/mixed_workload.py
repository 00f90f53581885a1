"""What `mixed` asks for: timelines of 50 records and records with one 8 KB feature, ids drawn by Zipf. Pure.

Every id exists in both groups. A request draws its id by rank and its kind by share, so reads and writes have
the same mix. Rows are made from numbers, the same in every run.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate
from typing import Any, Final, NamedTuple

TIMELINE: Final = "bench_events"
RECORD: Final = "bench_profiles"
TABLES: Final = {TIMELINE: "pannier-bench-events", RECORD: "pannier-bench-profiles"}
IDS: Final = 20_000
ZIPF_EXPONENT: Final = 0.9
TIMELINE_SHARE: Final = 0.8
RECORDS_PER_TIMELINE: Final = 50
EVENT_BYTES: Final = 200
PROFILE_BYTES: Final = 8_192
LOCAL_TIER: Final = {"softTTLSeconds": 60, "hardTTLSeconds": 300, "maxBytes": 128 * 1024 * 1024}
"""L1 of each group. Half of it in bytes, since the profile's 32 MiB would hold fewer than 2,000 of these
timelines; and a minute before a look at L2, since with the profile's 15 s every third read of this tail comes
later than that, and would be a refresh."""
FIRST_EVENT_MS: Final = 1_700_000_000_000
_MINUTE_MS: Final = 60_000
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_POOL: Final = "".join(random.Random(20130101).choices(_LETTERS, k=1 << 16))


class Request(NamedTuple):
    """One request of the schedule: when it is due (seconds from the start), and what it does to which id."""

    due_seconds: float
    is_write: bool
    is_timeline: bool
    id_number: int

    @property
    def kind(self) -> str:
        """The name under which its latency is reported."""
        return f"{'timeline' if self.is_timeline else 'record'} {'write' if self.is_write else 'read'}"


KINDS: Final = ("timeline read", "record read", "timeline write", "record write")


class Zipf:
    """Draws ranks 0..n-1 with probability proportional to 1 / (rank + 1)^exponent."""

    def __init__(self, n: int, exponent: float) -> None:
        self._cumulative = list(accumulate((rank + 1) ** -exponent for rank in range(n)))

    def rank(self, dice: random.Random) -> int:
        """Draw one rank."""
        return bisect_left(self._cumulative, dice.random() * self._cumulative[-1])

    def __repr__(self) -> str:
        return f"<Zipf over {len(self._cumulative)} ranks>"


def schedule(
    reads_per_second: float, writes_per_second: float, seconds: float, *, ids: int, seed: int
) -> Iterator[Request]:
    """Yield requests with Poisson arrivals: they come when they come, whether or not answers do."""
    dice = random.Random(seed)
    zipf = Zipf(ids, ZIPF_EXPONENT)
    rate = reads_per_second + writes_per_second
    due = dice.expovariate(rate)
    while due < seconds:
        is_write = dice.random() * rate < writes_per_second
        yield Request(due, is_write, dice.random() < TIMELINE_SHARE, zipf.rank(dice))
        due += dice.expovariate(rate)


def row_id(number: int) -> str:
    """Name an id."""
    return f"user-{number:06d}"


def manifests() -> list[dict[str, Any]]:
    """Declare both groups; their cache policy is the Hot profile's, with another L1.

    What is always asked for is the timelines' default, as a team would declare it: L1 has it rendered.
    """
    timeline_key = {"entity": "user", "sortKey": {"type": "Timestamp", "unit": "Milliseconds"}}
    return [
        _manifest(TIMELINE, timeline_key, "event", {"defaultLimit": RECORDS_PER_TIMELINE}),
        _manifest(RECORD, {"entity": "user"}, "profile", None),
    ]


def text(number: int, length: int) -> str:
    """Make a value of ``length`` characters that no two ids share."""
    name = f"{number}:"
    start = number * 7919 % (len(_POOL) - length)
    return name + _POOL[start : start + length - len(name)]


def event_times_ms() -> range:
    """List the timestamps of a timeline as it is loaded, oldest first."""
    return range(FIRST_EVENT_MS, FIRST_EVENT_MS + RECORDS_PER_TIMELINE * _MINUTE_MS, _MINUTE_MS)


def timeline_items(number: int) -> Iterator[dict[str, Any]]:
    """Yield the stored items of one timeline."""
    letters = text(number, EVENT_BYTES + RECORDS_PER_TIMELINE)
    for position, timestamp in enumerate(event_times_ms()):
        event = letters[position : position + EVENT_BYTES]
        yield _item(f"{TIMELINE}#{row_id(number)}", str(timestamp), event, timestamp * 1_000)


def record_item(number: int) -> dict[str, Any]:
    """Make the stored item of one record."""
    return _item(f"{RECORD}#{row_id(number)}", "null", text(number, PROFILE_BYTES), FIRST_EVENT_MS * 1_000)


def _item(pk: str, sk: str, value: str, stamp_us: int) -> dict[str, Any]:
    return {
        "pk": {"S": pk},
        "sk": {"S": sk},
        "v": {"M": {"0": {"S": value}}},
        "w": {"N": str(stamp_us)},
        "wx": {"M": {}},
        "r": {"N": str(stamp_us)},
    }


def _manifest(group: str, key: dict[str, Any], feature: str, query: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "apiVersion": "pannier.dev/v1alpha1",
        "kind": "FeatureGroup",
        "metadata": {"name": group.replace("_", "-")},
        "spec": {
            "groupName": group,
            "key": key,
            "features": [{"id": 0, "name": feature, "type": "String"}],
            "storage": {"mode": "Dedicated", "tableName": TABLES[group]},
            "cache": {"profile": "Hot", "local": LOCAL_TIER},
            **({"query": query} if query else {}),
        },
    }
