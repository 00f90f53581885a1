"""``pannier operator`` as a process: its signals, its end, and saying where it listens."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import Final

import structlog

from pannier_operator.app import Operator
from pannier_operator.settings import Settings

_log: Final = structlog.stdlib.get_logger(__name__)


def run(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT; raises `CannotStart` and `LeadershipLost`."""
    asyncio.run(_run(settings))


async def _run(settings: Settings) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with Operator(settings) as operator:
        _log.info("operator", admin=operator.admin.url)
        sys.stdout.write(f"operator admin={operator.admin.url}\n")
        sys.stdout.flush()
        await operator.run(stop)
    _log.info("stopped")
