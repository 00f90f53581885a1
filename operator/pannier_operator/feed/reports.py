"""What sidecars said of themselves when they last asked, by namespace; those that ask no more are dropped."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from pannier_operator.reporting.served import Report

GONE_SECONDS: Final = 15.0
"""A sidecar asks again at once; one that has not for so long has gone, or cannot reach us."""


@dataclass(slots=True)
class _Sidecar:
    report: Report
    heard_at: float
    asking: int = 0


class SidecarReports:
    """The sidecars that are heard of."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._sidecars: defaultdict[str, dict[str, _Sidecar]] = defaultdict(dict)

    def began(self, namespace: str, name: str, report: Report) -> bool:
        """Take in what a sidecar says as it asks; whether that is new."""
        known = self._sidecars[namespace].get(name)
        if known is None:
            self._sidecars[namespace][name] = _Sidecar(report, self._monotonic(), 1)
            return True
        is_new = known.report != report
        known.report, known.heard_at, known.asking = report, self._monotonic(), known.asking + 1
        return is_new

    def ended(self, namespace: str, name: str) -> None:
        """One of its requests is over, answered or not."""
        known = self._sidecars[namespace].get(name)
        if known is not None:
            known.heard_at, known.asking = self._monotonic(), known.asking - 1

    def live(self, namespace: str) -> dict[str, Report]:
        """What the sidecars of a namespace serve, by pod."""
        now, sidecars = self._monotonic(), self._sidecars.get(namespace, {})
        for name in [n for n, one in sidecars.items() if not _is_live(one, now)]:
            del sidecars[name]
        return {name: one.report for name, one in sidecars.items()}

    def everywhere(self) -> Iterator[tuple[str, dict[str, Report]]]:
        """Live sidecars by namespace."""
        for namespace in list(self._sidecars):
            yield namespace, self.live(namespace)

    def __repr__(self) -> str:
        return f"<SidecarReports of {sum(map(len, self._sidecars.values()))} sidecars>"


def _is_live(sidecar: _Sidecar, now: float) -> bool:
    return sidecar.asking > 0 or now - sidecar.heard_at < GONE_SECONDS
