"""What an edit costs a sidecar that holds many entries: to adopt, at the first request, per entry when read.

PYTHONPATH=contract:sidecar .venv/bin/python tools/measure_live_edit.py [entries, default 1000000]
"""

from __future__ import annotations

import gc
import logging
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import structlog
from msgspec.structs import replace

from pannier.catalog import Catalog
from pannier.catalog_building import catalog_from_specs
from pannier.spec_parsing import parse_feature_group
from pannier_sidecar.api.read_requests import Read, ReadRequest
from pannier_sidecar.clock import ManualClock
from pannier_sidecar.entry.record import Kind, Record
from pannier_sidecar.entry.timeline import Timeline
from pannier_sidecar.hot_rows import HotRows
from pannier_sidecar.live_plan import LivePlan
from pannier_sidecar.metrics import Metrics
from pannier_sidecar.packing import pack_state
from pannier_sidecar.plan import GroupPlan, ReadPlan
from pannier_sidecar.read_shape import ShapeMemo
from pannier_sidecar.tiers.l1_local import L1Cache

CLOCK: Final = ManualClock()
NOW_US: Final = CLOCK.now_us()
LOOKED_AT: Final = 20_000
CATALOG_GROUPS: Final = 2_000


def main() -> None:
    """Print one table."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    entries = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    for name, pack in (("record", _record), ("timeline of 50", _timeline)):
        count = entries if name == "record" else entries // 20
        _edit(name, count, pack)
    _large_catalog()


def _edit(name: str, count: int, state: Callable[[], Record | Timeline]) -> None:
    live = LivePlan(Metrics(), CLOCK)
    live.adopt(_catalog([_group("g", timeline=name != "record")], revision=1))
    l1, plan = L1Cache(1 << 40), _current(live)
    group = plan.groups["g"]
    pack = pack_state(group, "0", state(), NOW_US)
    ids = [f"{number:07d}" for number in range(count)]
    for row_id in ids:
        l1.put(group, row_id, pack, NOW_US)
    hot = _Hot(l1)
    hot.ask(plan, ids)
    gc.collect()
    gc.freeze()
    print(f"{count} entries, each a {name}")
    edited = group.group
    policy = replace(edited.policy, local=replace(edited.policy.local, soft_ttl_seconds=7))
    of_policy = Catalog(revision=2, groups=(replace(edited, generation=2, policy=policy),))
    query = replace(edited.query, default_limit=1)
    of_query = Catalog(revision=3, groups=(replace(edited, generation=3, policy=policy, query=query),))
    edits = {"a TTL": of_policy} if name == "record" else {"a TTL": of_policy, "defaultLimit": of_query}
    for what, catalog in edits.items():
        print(f"  {what} is edited")
        _timed("    adopt", live.adopt, catalog)
        plan = _current(live)
        _timed("    first request", hot.follow, plan)
        group, looked_at = plan.groups["g"], ids[:LOOKED_AT]
        took = _timed("", _look, l1, group, looked_at)
        print(f"    {'first look at an entry':<40}{took / len(looked_at) * 1e6:9.2f} us")
        took = _timed("", _look, l1, group, looked_at)
        print(f"    {'next look at it':<40}{took / len(looked_at) * 1e6:9.2f} us")
    gc.unfreeze()


class _Hot:
    """The hot path alone."""

    def __init__(self, l1: L1Cache) -> None:
        self._l1 = l1
        self._memo = ShapeMemo(ReadPlan(Catalog(revision=0, groups=())))
        self._hot = HotRows(l1, Metrics(), lambda *_: None, lambda: 0.5)

    def ask(self, plan: ReadPlan, ids: Sequence[str]) -> None:
        """Make every row ready."""
        self.follow(plan)
        for start in range(0, len(ids), 500):
            request = ReadRequest(reads=(Read(group="g", ids=tuple(ids[start : start + 500])),))
            self._hot.answer(request, self._memo, NOW_US)

    def follow(self, plan: ReadPlan) -> None:
        """What the first request under a plan does before it is answered."""
        self._memo = ShapeMemo(plan, self._memo)
        self._l1.follow(plan)
        self._hot.follow(plan)


def _look(l1: L1Cache, group: GroupPlan, ids: Sequence[str]) -> None:
    for row_id in ids:
        l1.look(group, row_id, NOW_US + 1, 5_000)


def _large_catalog() -> None:
    groups = [_group(f"g{number}") for number in range(CATALOG_GROUPS)]
    one = [*groups[:-1], _group(f"g{CATALOG_GROUPS - 1}", soft=7)]
    live = LivePlan(Metrics(), CLOCK)
    print(f"a catalog of {CATALOG_GROUPS} groups of 10 features")
    for what, chosen in (("first", groups), ("one of them edited", one)):
        catalog = _catalog(chosen, revision=live.current.revision + 1 if live.current else 1)
        _timed(f"    adopt, {what}", live.adopt, catalog)


def _timed(what: str, act: Callable[..., None], *arguments: Any) -> float:
    started = time.perf_counter()
    act(*arguments)
    took = time.perf_counter() - started
    if what:
        print(f"{what:<44}{took * 1e3:9.2f} ms")
    return took


def _group(name: str, *, timeline: bool = False, soft: int = 15) -> dict[str, Any]:
    key: dict[str, Any] = {"entity": "user"}
    if timeline:
        key["sortKey"] = {"type": "Timestamp", "unit": "Seconds"}
    return {
        "apiVersion": "pannier.dev/v1alpha1",
        "kind": "FeatureGroup",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "groupName": name,
            "key": key,
            "storage": {"mode": "Dedicated"},
            "features": [{"id": i, "name": f"f{i}", "type": "String"} for i in range(10)],
            "cache": {"profile": "Hot", "local": {"softTTLSeconds": soft, "maxBytes": 1 << 34}},
        },
    }


def _catalog(groups: Sequence[dict[str, Any]], *, revision: int) -> Catalog:
    return catalog_from_specs([parse_feature_group(group) for group in groups], revision=revision)


def _current(live: LivePlan) -> ReadPlan:
    plan = live.get()
    if plan is None:
        raise LookupError("no catalog was adopted")
    return plan


def _record() -> Record:
    return Record(Kind.FOUND, NOW_US, NOW_US, NOW_US, None, dict.fromkeys(range(10), b'"0123456789"'))


def _timeline() -> Timeline:
    return Timeline(NOW_US, "", "", 0, NOW_US, {f"{tick:010d}": _record() for tick in range(50)})


if __name__ == "__main__":
    main()
