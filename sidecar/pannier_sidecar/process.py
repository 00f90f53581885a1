"""``pannier serve`` as a process: its signals, and saying where it listens.

What it serves is built in `pannier_sidecar.app`.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Callable
from typing import Final

import structlog
import uvloop

from pannier_sidecar.app import Sidecar, build
from pannier_sidecar.garbage import spare_the_collector
from pannier_sidecar.settings import Settings
from pannier_sidecar.version import VERSION

_log: Final = structlog.stdlib.get_logger(__name__)


async def serve(settings: Settings, stop: asyncio.Event, announce: Callable[[Sidecar], None]) -> None:
    """Serve until told to stop, then finish what is under way."""
    async with build(settings) as sidecar:
        spare_the_collector()
        announce(sidecar)
        await stop.wait()
        _log.info("stopping", drain_seconds=settings.drain_seconds)
    _log.info("stopped")


def run(settings: Settings) -> None:
    """Run ``pannier serve`` in this process until SIGTERM or SIGINT."""
    uvloop.run(_serve_until_signal(settings))


async def _serve_until_signal(settings: Settings) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def told_to_stop(number: signal.Signals) -> None:
        stop.set()
        loop.remove_signal_handler(number)  # who insists gets the default: an end without drain

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told_to_stop, number)
    await serve(settings, stop, _announce)


def _announce(sidecar: Sidecar) -> None:
    """Say where it listens: in the log for machines, on stdout for whoever started it (ports may be 0)."""
    redis = {"redis": str(sidecar.settings.redis_url)} if sidecar.settings.redis_url else {}
    _log.info(
        "serving",
        version=VERSION,
        data=sidecar.data.urls,
        admin=sidecar.admin.urls,
        store=sidecar.settings.store,
        **redis,
    )
    if sys.stdout.isatty() and sys.stderr.isatty() and _log.isEnabledFor(logging.INFO):
        return  # both lines would stand below each other on the same terminal
    sys.stdout.write(f"serving data={','.join(sidecar.data.urls)} admin={','.join(sidecar.admin.urls)}\n")
    sys.stdout.flush()
