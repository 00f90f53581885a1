"""What tiers tell of themselves, logged once per change: circuits that open, values that cannot be read."""

from __future__ import annotations

from typing import Final

import structlog

from pannier.errors import ValueRefused
from pannier_sidecar.metrics import CircuitState, Metrics
from pannier_sidecar.plan import GroupPlan

MAX_REMEMBERED: Final = 10_000

_log: Final = structlog.stdlib.get_logger(__name__)


class CircuitLog:
    """Logs each outage of a tier and its end; the probes in between are no news."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._is_out: set[str] = set()

    def changed(self, tier: str, before: CircuitState | None, now: CircuitState) -> None:
        """Hear of a change."""
        del before
        if now == "open" and tier not in self._is_out:
            self._is_out.add(tier)
            reason = self._metrics.last_errors.get(tier, "TierUnavailable")
            _log.warning("tier_lost", tier=tier, reason=reason, effect="the sidecar goes on without it")
        elif now == "closed" and tier in self._is_out:
            self._is_out.discard(tier)
            _log.info("tier_back", tier=tier)

    def __repr__(self) -> str:
        return f"<CircuitLog out: {', '.join(sorted(self._is_out)) or 'none'}>"


class BadValueLog:
    """Logs each feature whose stored values have another type than declared: once, not once per row."""

    def __init__(self) -> None:
        self._seen: set[tuple[str, str]] = set()

    def heard(self, plan: GroupPlan, feature: str, refusal: ValueRefused) -> None:
        """Hear of a stored value that cannot be read; it is served as if absent."""
        key = (plan.name, feature)
        if key not in self._seen and len(self._seen) < MAX_REMEMBERED:
            self._seen.add(key)
            _log.warning("stored_value_unreadable", group=plan.name, feature=feature, reason=refusal.reason)

    def __repr__(self) -> str:
        return f"<BadValueLog {len(self._seen)} features>"
