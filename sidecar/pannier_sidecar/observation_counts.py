"""What `pannier_sidecar.observer` and `pannier_sidecar.shadow` found in one group."""

from __future__ import annotations

from collections import Counter


class ObservationCounts:
    """Of one group. Label values are few and fixed, so nothing here grows with traffic."""

    __slots__ = ("checks", "shadow")

    def __init__(self) -> None:
        self.checks: Counter[tuple[str, str, str]] = Counter()
        """Checks of samples: (sample, after, outcome)."""
        self.shadow: Counter[tuple[str, str]] = Counter()
        """Answers of tiers in the shadow: (tier, outcome)."""

    def __repr__(self) -> str:
        return f"<ObservationCounts {dict(self.checks)} {dict(self.shadow)}>"
