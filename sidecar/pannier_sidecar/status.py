"""What ``/v1/status`` and ``/readyz`` say: one look at the parts, as plain JSON. It changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from pannier.errors import Problem
from pannier_sidecar.api.dispatch import MAX_BODY_BYTES
from pannier_sidecar.api.read_requests import MAX_IDS_PER_READ, MAX_READS, MAX_ROWS
from pannier_sidecar.api.write_requests import MAX_WRITES
from pannier_sidecar.clock import Clock
from pannier_sidecar.metrics import Metrics
from pannier_sidecar.plan import ReadPlan
from pannier_sidecar.settings import Settings
from pannier_sidecar.table_health import TableHealth

Phase = Literal["starting", "serving", "stopping"]


class PhaseHolder:
    """Which part of its life the sidecar is in; the composition root moves it on."""

    def __init__(self) -> None:
        self.now: Phase = "starting"

    def get(self) -> Phase:
        """The phase now."""
        return self.now

    def stop(self) -> None:
        """From now on no new work is wanted."""
        self.now = "stopping"

    def __repr__(self) -> str:
        return f"<PhaseHolder {self.now}>"


@dataclass(frozen=True, slots=True)
class StatusReport:
    """Knows the parts of a running sidecar and says how they are."""

    version: str
    settings: Settings
    plan: Callable[[], ReadPlan | None]
    metrics: Metrics
    tables: TableHealth
    clock: Clock
    started_us: int
    phase: Callable[[], Phase]
    catalog_problems: Callable[[], Sequence[Problem]]

    def document(self) -> dict[str, Any]:
        """Everything, for people and for `pannier status`."""
        now_us = self.clock.now_us()
        return {
            "version": self.version,
            "uptime_seconds": (now_us - self.started_us) // 1_000_000,
            **self.readiness(),
            "catalog": self._catalog(),
            "tiers": self._tiers(),
            "backfill": self._backfill(),
            "in_flight": {name: room._asdict() for name, room in self.metrics.rooms().items()},
            "shed": {kind: n for (kind,), n in self.metrics.sheds.items()},
            "invalidation": self._invalidation(),
            "groups": self._groups(),
            "limits": {
                "reads": MAX_READS,
                "ids_per_read": MAX_IDS_PER_READ,
                "rows": MAX_ROWS,
                "writes": MAX_WRITES,
                "body_bytes": MAX_BODY_BYTES,
            },
        }

    def readiness(self) -> dict[str, Any]:
        """Ready once a catalog is loaded: a tier that is down degrades answers, it does not stop them."""
        return {
            "ready": self.plan() is not None and self.phase() == "serving",
            "phase": self.phase(),
            "degraded": self._degraded(),
        }

    def _degraded(self) -> list[dict[str, str]]:
        notes = []
        if self.plan() is None:
            notes.append({"part": "catalog", "reason": "NotReady", "message": "no catalog is loaded yet"})
        for tier, state in self.metrics.circuits.items():
            if state != "closed":
                notes.append(
                    {
                        "part": tier,
                        "reason": self.metrics.last_errors.get(tier, "TierUnavailable"),
                        "message": f"the circuit is {state}; the sidecar goes on without this tier",
                    }
                )
        if self.metrics.subscription.state == "lost":
            notes.append(
                {
                    "part": "l2",
                    "reason": "NotListening",
                    "message": "writes through other sidecars are not heard of; they show after local TTLs",
                }
            )
        notes += [
            {"part": "catalog", "reason": problem.reason, "message": str(problem)}
            for problem in self.catalog_problems()
        ]
        for group, error in sorted(self.tables.faults.items()):
            notes.append({"part": f"l3:{group}", "reason": error.reason, "message": error.message})
        return notes

    def _catalog(self) -> dict[str, Any]:
        plan = self.plan()
        source = self.settings.specs or self.settings.catalog
        return {
            "source": str(source),
            "kind": "specs" if self.settings.specs is not None else "catalog",
            "revision": plan.revision if plan is not None else None,
            "groups": len(plan.groups) if plan is not None else 0,
            "operatorHeard": heard() if (heard := self.metrics.operator_is_heard) else None,
            "problems": [
                {"path": p.path, "reason": p.reason, "message": p.message} for p in self.catalog_problems()
            ],
        }

    def _tiers(self) -> dict[str, Any]:
        usage = self.metrics.l1_usage().values()
        redis = self.settings.redis_url
        return {
            "l1": {
                "entries": sum(held.entries for held in usage),
                "bytes": sum(held.bytes for held in usage),
                "limit_bytes": self.settings.l1_bytes,
                "evictions": sum(held.evictions for held in usage),
            },
            "l2": {"enabled": redis is not None, "url": str(redis) if redis else None, **self._health("l2")},
            "l3": {"store": self.settings.store, **self._health("l3")},
        }

    def _health(self, tier: str) -> dict[str, Any]:
        errors = {reason: n for (name, reason), n in self.metrics.tier_errors.items() if name == tier}
        return {
            "circuit": self.metrics.circuits.get(tier),
            "last_error": self.metrics.last_errors.get(tier),
            "errors": errors,
        }

    def _backfill(self) -> dict[str, Any] | None:
        usage = self.metrics.backfill_usage()
        if usage is None:
            return None
        events = {event: n for (event,), n in self.metrics.backfills.items()}
        return {"queued": usage.queued, "unconfirmed": usage.unconfirmed, "events": events}

    def _invalidation(self) -> dict[str, Any] | None:
        counts = self.metrics.subscription
        if counts.state == "absent":
            return None
        return {
            "state": counts.state,
            "losses": counts.losses,
            "epoch": counts.epoch,
            "published": counts.published,
        }

    def _groups(self) -> list[dict[str, Any]]:
        plan = self.plan()
        usage = self.metrics.l1_usage()
        groups = []
        for name, group in sorted(plan.groups.items()) if plan is not None else ():
            held = usage.get(name)
            fault = self.tables.faults.get(name)
            groups.append(
                {
                    "group": name,
                    "namespace": group.group.namespace,
                    "generation": group.group.generation,
                    "schemaHash": group.schema_hash,
                    "table": group.table,
                    "tableFault": {"reason": fault.reason, "message": fault.message} if fault else None,
                    "policy": msgspec.to_builtins(group.policy),
                    "l1": held._asdict() if held is not None else None,
                }
            )
        return groups
