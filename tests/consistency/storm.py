"""One round of a run: clients let loose on a fleet in bad weather, and the laws' verdict on what they saw.

`python -m tests.consistency` runs as many as asked for; `test_storm` and `test_broken_builds` run one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import aiohttp
from tests.consistency import laws, operations
from tests.consistency.aftermath import Aftermath
from tests.consistency.clients import Clients, Load
from tests.consistency.fleet import Fleet
from tests.consistency.groups import PROMISES
from tests.consistency.laws import Verdict
from tests.consistency.operations import Setup
from tests.consistency.weather import STORM, Forecast, Weather

PER_ROUND: Final = 100_000
"""Operations whose history is judged at once."""


async def one_round(
    fleet: Fleet,
    directory: Path,
    seed: int,
    load: Load,
    forecast: Forecast = STORM,
    *,
    to_the_end: bool = True,
) -> Verdict:
    """Let clients loose, wait until all has settled, keep the history in a file and judge it from there."""
    fleet.recorder.events.clear()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        clients = Clients(fleet, session, seed, load)
        async with Weather(fleet, seed, forecast):
            await clients.run()
        aftermath = Aftermath(fleet, session, directory / "specs")
        rest = await aftermath.record(clients.rows, to_the_end=to_the_end)
    path = directory / f"history-{seed}.jsonl"
    operations.save(path, [Setup(seed, PROMISES), *fleet.recorder.events, *clients.history, *rest])
    return laws.check(operations.load(path))
