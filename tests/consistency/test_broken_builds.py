"""Every build that is broken on purpose is caught, within so many operations, by the law it breaks."""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

import pytest
from tests.consistency.broken_sidecar import BUILDS
from tests.consistency.clients import Load
from tests.consistency.fleet import Fleet
from tests.consistency.storm import one_round
from tests.consistency.weather import LATE, READS, Forecast

pytestmark = [pytest.mark.redis, pytest.mark.dynamodb, pytest.mark.slow, pytest.mark.timeout(300)]

ROUNDS: Final = 12


class Hunt(NamedTuple):
    """How a break shows: what is asked, what goes wrong meanwhile, and which laws it may break."""

    laws: set[str]
    load: Load
    forecast: Forecast = LATE


_FILLS: Final = Load(5_000, ("rows_shared",), writes_per_row=5, rows="oooooo")
"""Many rows with few writes each, by one sidecar, and loads of the other one that come in late."""
_RECORDS: Final = Load(4_000, ("rows_bare", "rows_local", "rows_strong", "rows_through"), rows="fkkkkk")
_AGEING: Final = Load(
    5_000, ("rows_through", "rows_local"), writes_per_row=40, rows="o" * 300, at_least_seconds=12
)
"""Rows that one sidecar goes on writing for longer than the other one may serve what it once loaded."""
_FAILING: Final = Forecast(("throttled", "error"), lanes=("l3",), calm_seconds=(0.0, 0.2))
_OUTAGES: Final = Forecast(
    ("throttled",),
    lanes=("l3",),
    calls=(READS,),
    shares=(1.0,),
    lasts_seconds=(6, 7),
    calm_seconds=(1, 2),
)
"""Longer than what was read just before may be served unmarked."""
_CUT_OFF: Final = _OUTAGES._replace(lanes=("links", "l3"), links=("refuse",), links_last_seconds=(9, 10))
"""Neither told of newer writes nor able to look for them."""
_QUIET: Final = Load(15_000, ("rows_stale",), writes_per_row=2, rows="k" * 600, at_least_seconds=15)
"""Rows that nobody writes for longer than that: what lies under a newer write is not served stale either."""
HUNTS: Final[dict[str, Hunt]] = {
    "delete-instead-of-marker": Hunt({"Rest"}, _FILLS),
    "no-revision-compare": Hunt({"Rest"}, _FILLS),
    "missing-when-throttled": Hunt({"Missing", "OwnWrites", "Strong"}, _RECORDS, _FAILING),
    "forgotten-writes": Hunt(
        {"OwnWrites"}, Load(4_000, ("rows_shared", "line_shared", "rows_marked"), rows="kkkkkk")
    ),
    "acknowledged-before-stored": Hunt({"OwnWrites", "Bound", "Strong", "Missing", "WholeRow"}, _RECORDS),
    "event-time-ignored": Hunt({"Bound", "OwnWrites", "WholeRow", "Lost"}, _RECORDS._replace(rows="kkkkkk")),
    "endless-hard-ttl": Hunt({"Bound", "Missing"}, _AGEING, _CUT_OFF),
    "cached-strong-reads": Hunt({"Bound", "Strong", "Missing"}, _RECORDS),
    "stale-not-marked": Hunt({"Bound"}, _QUIET, _OUTAGES),
    "deleted-rows-return": Hunt({"Bound", "Lost", "OwnWrites", "Strong", "WholeRow"}, _RECORDS),
}


def test_every_broken_build_is_hunted() -> None:
    """None is kept that no test needs."""
    assert HUNTS.keys() == BUILDS.keys()


@pytest.mark.parametrize("build", HUNTS)
async def test_a_broken_build_is_caught(build: str, tmp_path: Path) -> None:
    """The same clients that find nothing wrong with a sound sidecar find this one."""
    hunt = HUNTS[build]
    async with Fleet(tmp_path, 2, broken=build) as fleet:
        for seed in range(1, ROUNDS + 1):
            verdict = await one_round(fleet, tmp_path, seed, hunt.load, hunt.forecast, to_the_end=False)
            if verdict.violations:
                break
    found = {violation.law for violation in verdict.violations}
    assert found & hunt.laws, str(verdict)
