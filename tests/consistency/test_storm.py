"""What is promised holds in a storm: docs/consistency.md, on real sidecars, Redis and DynamoDB emulators.

A failure names its seed and the file of its history; ``PANNIER_CONSISTENCY_SEED`` draws another storm, and
``make consistency`` runs long ones.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import pytest
from tests.consistency.clients import Load
from tests.consistency.fleet import Fleet
from tests.consistency.storm import PER_ROUND, one_round

pytestmark = [pytest.mark.redis, pytest.mark.dynamodb, pytest.mark.slow, pytest.mark.timeout(900)]

SEED: Final = int(os.environ.get("PANNIER_CONSISTENCY_SEED", "1"))
SHARE_KNOWN: Final = 0.5
"""Of the reads at least, else the storm has shown nothing."""


async def test_a_hundred_thousand_operations_keep_every_promise(tmp_path: Path) -> None:
    """Sidecars are killed, Redis is lost, links break, DynamoDB fails: no law is broken."""
    async with Fleet(tmp_path) as fleet:
        verdict = await one_round(fleet, tmp_path, SEED, Load(PER_ROUND))
    report = f"SEED={SEED}, history in {tmp_path}: {verdict}"
    print(report)  # noqa: T201 (pytest shows it when the test fails, and with -rP)
    assert not verdict.violations, report
    counts = verdict.counts
    reads = sum(n for what, n in counts.items() if what.startswith("reads"))
    assert reads + sum(n for what, n in counts.items() if what.startswith("writes")) >= PER_ROUND
    assert counts["reads found"] + counts["reads missing"] > SHARE_KNOWN * reads, report
    assert counts["writes written"] > 0.05 * PER_ROUND, report
    assert counts["registers linearizable"] > 0, report
    assert counts["tiers compared"] > 0, report


async def test_the_promises_hold_on_dynamodb_local(tmp_path: Path) -> None:
    """A shorter storm on AWS's own emulator, which is of another mind here and there."""
    async with Fleet(tmp_path, 2, store="dynamodb-local") as fleet:
        verdict = await one_round(fleet, tmp_path, SEED, Load(5_000))
    assert not verdict.violations, f"SEED={SEED}: {verdict}"
