"""Reads and writes at a fixed rate, whatever the answers do, against this sidecar on real stores.

`run` fills a store, starts Redis and the sidecar, measures at the asked rate, then looks for the highest
multiple of it that still keeps every kind of request within the target.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from pannier_cli.bench import mixed_workload as workload
from pannier_cli.bench import preload, scrape, servers
from pannier_cli.bench.children import HOST, Child, http_status
from pannier_cli.bench.open_loop import LoadReport, Order
from pannier_cli.bench.servers import SidecarChild
from pannier_cli.failures import CommandFailed

StoreName = Literal["dynoxide", "dynamodb-local", "embedded"]
Tell = Callable[[str], None]
TARGET_P99_MS: Final = 30.0
MAX_FAILURE_SHARE: Final = 0.001
_FINEST_STEP: Final = 0.1
_LARGEST_FACTOR: Final = 16.0
EASE_FACTOR: Final = 0.35
_SETTLE_SECONDS: Final = 60.0
_QUICK_ANSWERS: Final = 10
_QUICK_SECONDS: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to measure."""

    store: StoreName
    reads_per_second: float
    writes_per_second: float
    ids: int
    warmup_seconds: float
    seconds: float
    search: bool
    seed: int = 20130101


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One run at one rate."""

    factor: float
    """Multiple of the asked rate."""
    reads_per_second: float
    writes_per_second: float
    load: LoadReport
    hit_shares: dict[str, dict[str, float]]
    cpu_percent: dict[str, float]
    """Part -> CPU used, in percent of one core."""

    @property
    def worst_p99_ms(self) -> float:
        """The p99 of the slowest kind of request."""
        return max(
            (one.p99_ms for one in self.load.latencies.values() if one.p99_ms is not None), default=0.0
        )

    @property
    def holds(self) -> bool:
        """Whether every kind keeps the target and next to nothing failed."""
        answered = sum(one.count for one in self.load.latencies.values())
        failed = sum(self.load.failures.values())
        return self.worst_p99_ms < TARGET_P99_MS and failed <= MAX_FAILURE_SHARE * (answered + failed)


class MixedResult(msgspec.Struct, frozen=True, kw_only=True):
    """Everything measured on one store."""

    store: str
    at_rate: Trial
    trials: list[Trial]
    highest_factor: float | None
    """The highest multiple that held; None where none did or none was looked for."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The processes of one run."""

    sidecar: SidecarChild
    others: Mapping[str, Child]

    def cpu_seconds(self) -> dict[str, float]:
        """CPU seconds of each part so far."""
        children = {"sidecar": self.sidecar, **self.others}
        return {name: child.cpu_seconds() for name, child in children.items()}


def run(plan: Plan, directory: Path, tell: Tell) -> MixedResult:
    """Measure one store."""
    with _parts(plan, directory, tell) as parts:
        _ease_in(plan, parts, tell)
        at_rate = _trial(plan, 1.0, parts, tell)
        trials = list(_search(plan, at_rate, parts, tell)) if plan.search else []
    held = [trial.factor for trial in (at_rate, *trials) if trial.holds]
    return MixedResult(
        store=plan.store,
        at_rate=at_rate,
        trials=trials,
        highest_factor=max(held) if held and plan.search else None,
    )


def next_factor(held: float, failed: float | None) -> float | None:
    """Choose what to try next between the highest factor that held and the lowest that failed; None = done.

    Doubles until something fails, then halves the gap down to a tenth of the asked rate.
    """
    if failed is None:
        return held * 2 if held < _LARGEST_FACTOR else None
    if failed - held <= _FINEST_STEP + 1e-9:
        return None
    return round((held + failed) / 2, 1)


def _search(plan: Plan, first: Trial, parts: Parts, tell: Tell) -> Iterator[Trial]:
    held, failed = (first.factor, None) if first.holds else (0.0, first.factor)
    short = replace(plan, warmup_seconds=min(plan.warmup_seconds, 4.0))
    while (factor := next_factor(held, failed)) is not None:
        _settle(parts.sidecar.admin_port)
        _ease_in(short, parts, tell)
        trial = _trial(short, factor, parts, tell)
        yield trial
        held, failed = (factor, failed) if trial.holds else (held, factor)


def _ease_in(plan: Plan, parts: Parts, tell: Tell) -> None:
    """Send a part of the load first, so that the caches hold what it asks for and no overload lingers on."""
    _trial(replace(plan, warmup_seconds=0.0, seconds=2 * plan.warmup_seconds), EASE_FACTOR, parts, tell)


def _settle(admin_port: int) -> None:
    """Wait until the sidecar has worked off what an overload left behind: it answers at once again."""
    give_up_at = time.monotonic() + _SETTLE_SECONDS
    quick = 0
    while quick < _QUICK_ANSWERS and time.monotonic() < give_up_at:
        asked_at = time.monotonic()
        http_status(admin_port, "/livez")
        quick = quick + 1 if time.monotonic() - asked_at < _QUICK_SECONDS else 0
        time.sleep(_QUICK_SECONDS)


def _trial(plan: Plan, factor: float, parts: Parts, tell: Tell) -> Trial:
    order = Order(
        port=parts.sidecar.port,
        reads_per_second=plan.reads_per_second * factor,
        writes_per_second=plan.writes_per_second * factor,
        warmup_seconds=plan.warmup_seconds,
        seconds=plan.seconds,
        ids=plan.ids,
        seed=plan.seed + round(factor * 100),
    )
    tell(f"{plan.store}: {order.reads_per_second:,.0f} reads/s and {order.writes_per_second:,.0f} writes/s")
    process = subprocess.Popen(
        [sys.executable, "-m", "pannier_cli.bench.open_loop"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        assert process.stdin is not None  # noqa: S101 (for the type checker)
        assert process.stdout is not None  # noqa: S101 (for the type checker)
        process.stdin.write(msgspec.json.encode(order))
        process.stdin.close()
        process.stdout.readline()
        cpu_before, rows_before = parts.cpu_seconds(), scrape.outcomes(parts.sidecar.admin_port)
        process.stdout.readline()
        cpu_after, rows_after = parts.cpu_seconds(), scrape.outcomes(parts.sidecar.admin_port)
        line = process.stdout.readline()
    if process.returncode != 0:
        raise CommandFailed("the load generator failed; its message stands above")
    load = msgspec.json.decode(line, type=LoadReport)
    used = {name: cpu_after[name] - cpu_before[name] for name in cpu_after}
    used["load generator"] = load.cpu_seconds
    return Trial(
        factor=factor,
        reads_per_second=order.reads_per_second,
        writes_per_second=order.writes_per_second,
        load=load,
        hit_shares=scrape.shares(rows_before, rows_after),
        cpu_percent={name: 100 * seconds / load.seconds for name, seconds in used.items()},
    )


@contextmanager
def _parts(plan: Plan, directory: Path, tell: Tell) -> Iterator[Parts]:
    """Start store, Redis and sidecar, and fill the store."""
    with ExitStack() as stack:
        redis = stack.enter_context(servers.redis(directory / "redis", None))
        flags = ["--redis-url", f"redis://{HOST}:{redis.port}/0"]
        others: dict[str, Child] = {"redis": redis}
        if plan.store == "embedded":
            flags += ["--store", "embedded", "--data-dir", str(directory / "data")]
        else:
            store = stack.enter_context(_store(plan, directory, tell))
            others[plan.store] = store
            flags += ["--store", "dynamodb", "--dynamodb-endpoint-url", store.url]
        sidecar = servers.sidecar(directory / "sidecar", workload.manifests(), flags, None)
        stack.enter_context(sidecar)
        if plan.store == "embedded":
            preload.load_through_sidecar(sidecar.port, plan.ids, tell)
        preload.read_every_id(sidecar.port, plan.ids, tell)
        yield Parts(sidecar, others)


@contextmanager
def _store(plan: Plan, directory: Path, tell: Tell) -> Iterator[Child]:
    if plan.store == "dynoxide":
        preload.write_export(directory, plan.ids, tell)
        tell("dynoxide imports the rows")
        with servers.dynoxide(directory / "dynoxide", None, source=directory) as child:
            yield child
    else:
        with servers.dynamodb_local(directory / "dynamodb-local", None) as child:
            preload.load_over_api(child.port, plan.ids, tell)
            yield child


def configuration(plan: Plan) -> dict[str, Any]:
    """Say what was measured how, for the record."""
    return {
        "load": f"open loop, Poisson arrivals, {plan.reads_per_second:,.0f} reads/s and "
        f"{plan.writes_per_second:,.0f} writes/s for {plan.seconds:g} s",
        "warm-up": f"every id is read once, then {2 * plan.warmup_seconds:g} s of {EASE_FACTOR:g}x and "
        f"{plan.warmup_seconds:g} s of the whole load",
        "ids": f"{plan.ids:,} in each group, Zipf {workload.ZIPF_EXPONENT}",
        "mix": f"{workload.TIMELINE_SHARE:.0%} timelines of {workload.RECORDS_PER_TIMELINE} x "
        f"{workload.EVENT_BYTES} B, the rest records with one feature of {workload.PROFILE_BYTES:,} B",
        "groups": f"cache profile Hot, local: {workload.LOCAL_TIER}",
        "sidecar": "defaults of `pannier serve`, one process, Redis as L2",
        "latency": "from when a request was due; one row per request",
        "holds": f"p99 of every kind under {TARGET_P99_MS:g} ms, failures under {MAX_FAILURE_SHARE:.1%}",
        "cores": "all processes on all cores",
    }
