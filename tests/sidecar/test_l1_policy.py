"""L1 on simulated and real traces: better than LRU under drift, few stores behind the door, hits no fewer.

Traces and rivals are those of tools/measure_admission.py; L1 is the real one behind the real hot path.
"""

from __future__ import annotations

import pytest
from measure_admission import Lru, Pannier, Share, Trace, flights_in_order, replay, zipf_ids

REQUESTS = 75_000
ROOM = 1_500


@pytest.fixture(scope="module")
def one_hit_wonders() -> Trace:
    """Zipf 0.9, and 30 % of the requests for ids that never come again."""
    return Trace("once", zipf_ids(11, REQUESTS, ids=15_000, exponent=0.9, one_hit_share=0.3), ROOM)


def test_the_door_keeps_one_hit_wonders_out_and_loses_no_hits(one_hit_wonders: Trace) -> None:
    """With OnSecondHit at most 12 % of requests end in a store, and no fewer are hits than without."""
    without, behind = (
        replay(Pannier(ROOM, admission), one_hit_wonders) for admission in ("Always", "OnSecondHit")
    )
    print(f"Always {without}, OnSecondHit {behind}")  # noqa: T201 (for -s)
    assert behind.stores <= 12
    assert behind.hits >= without.hits
    assert without.stores > 40, "else the trace would prove nothing"


@pytest.mark.parametrize("admission", ["Always", "OnSecondHit"])
def test_it_follows_a_drift_better_than_lru(admission: str) -> None:
    """Where all hot ids are replaced by others again and again, hits are at least two points above LRU."""
    ids = zipf_ids(12, REQUESTS, ids=15_000, exponent=0.9, one_hit_share=0.3, turns_after=REQUESTS // 3)
    trace = Trace("drift", ids, 500)
    lru = replay(Lru(trace.room), trace)
    ours = replay(Pannier(trace.room, admission), trace)  # type: ignore[arg-type]
    print(f"LRU {lru}, {admission} {ours}")  # noqa: T201 (for -s)
    assert ours.hits >= lru.hits + 2


def test_a_scan_leaves_what_is_hot() -> None:
    """One pass over ten times as many ids as there is room for costs less than a tenth of the hits."""
    hot = zipf_ids(13, 60_000, ids=3_000, exponent=1.0)
    cache, rival = Pannier(1_000), Lru(1_000)
    shares: dict[str, list[Share]] = {}
    for name, one in (("ours", cache), ("lru", rival)):
        before = replay(one, Trace("before", hot, 1_000))
        for number in range(10_000):
            one.request(f"scan-{number}")
        after = sum(map(one.request, hot[:1_000])) / 10
        shares[name] = [before, Share(after, 0)]
    assert shares["ours"][1].hits > 0.9 * shares["ours"][0].hits
    assert shares["ours"][1].hits > shares["lru"][1].hits + 5


def test_the_planes_of_a_month_in_order() -> None:
    """On real flights in time order, where LRU finds next to nothing, L1 finds several times as much."""
    trace = Trace("planes", flights_in_order((1,)), 200)
    lru, ours, behind = (
        replay(cache, trace) for cache in (Lru(200), Pannier(200), Pannier(200, "OnSecondHit"))
    )
    print(f"LRU {lru}, Always {ours}, OnSecondHit {behind}")  # noqa: T201 (for -s)
    assert ours.hits > lru.hits + 2
    assert behind.hits > lru.hits + 2
    assert behind.stores < ours.stores / 2
