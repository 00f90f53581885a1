"""CPU of a sidecar per request that L1 answers, and per request that it refuses (docs/adr/0012).

    PYTHONPATH=. .venv/bin/python tools/measure_refusals.py

The sidecar runs in this process on the embedded store, wrk outside of it; for refusals every seat is taken.
The median of several rounds is printed. With ``--profile`` the dearest functions of a refused read follow.
"""

from __future__ import annotations

import asyncio
import contextlib
import cProfile
import json
import pstats
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import uvloop
import yaml

from pannier_cli import logs
from pannier_cli.bench.binaries import find_program
from pannier_cli.bench.mixed_workload import PROFILE_BYTES, RECORD, manifests
from pannier_sidecar.app import Sidecar, build
from pannier_sidecar.garbage import spare_the_collector
from pannier_sidecar.settings import load

ROUNDS, SECONDS, CONNECTIONS = 5, 1, 16
READ, WRITE = "/v1/features/read", "/v1/features/write"
SCRIPT = """
wrk.method = "POST"
wrk.path = "{path}"
wrk.body = [[{body}]]
function done(summary) io.write("requests=" .. summary.requests .. "\\n") end
"""


def a_read(row_id: str) -> dict[str, Any]:
    """A read of one record."""
    return {"reads": [{"group": RECORD, "ids": [row_id]}]}


def a_write(row_id: str) -> dict[str, Any]:
    """A write of one record of the mixed load."""
    return {"writes": [{"group": RECORD, "id": row_id, "features": {"profile": "x" * PROFILE_BYTES}}]}


async def cpu_us(url: str, script: Path) -> float:
    """CPU per request, microseconds."""
    wrk = find_program("wrk")
    before = time.process_time()
    process = await asyncio.create_subprocess_exec(
        wrk, "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "-s", script, url, stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await process.communicate()
    spent = time.process_time() - before
    return spent / int(printed.decode().rpartition("requests=")[2].split()[0]) * 1e6


def load_script(directory: Path, path: str, body: dict[str, Any]) -> Path:
    """What wrk sends."""
    script = directory / "load.lua"
    script.write_text(SCRIPT.format(path=path, body=json.dumps(body)))
    return script


async def measure(sidecar: Sidecar, directory: Path) -> None:
    """Print a line per kind of request."""
    url = f"http://{sidecar.data.tcp_addresses[0]}"
    lanes = sidecar.admission.reads, sidecar.admission.writes
    await cpu_us(url, load_script(directory, WRITE, a_write("held")))
    kinds = {
        "read answered by L1": (False, READ, a_read("held")),
        "read refused": (True, READ, a_read("cold")),
        "write of 8 KB refused": (True, WRITE, a_write("late")),
    }
    for name, (is_refused, path, body) in kinds.items():
        script = load_script(directory, path, body)
        with contextlib.ExitStack() as seats:
            for lane in lanes if is_refused else ():
                while lane.try_begin():
                    seats.callback(lane.end)
            rounds = [await cpu_us(url, script) for _ in range(ROUNDS)]
            print(f"{name:24} {statistics.median(rounds):6.0f} us")
            if "--profile" in sys.argv and name == "read refused":
                profile = cProfile.Profile()
                profile.enable()
                await cpu_us(url, script)
                profile.disable()
                pstats.Stats(profile).sort_stats("tottime").print_stats(40)


async def main() -> None:
    """Serve and measure."""
    logs.configure("json", "warning")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        specs = directory / "specs"
        specs.mkdir()
        for position, manifest in enumerate(manifests()):
            (specs / f"{position}.yaml").write_text(yaml.safe_dump(manifest))
        given: dict[str, str | bool | None] = {
            "specs": str(specs),
            "data_dir": str(directory / "data"),
            "create_tables": True,
        }
        given.update(http="127.0.0.1:0", admin="127.0.0.1:0", loop_delay_ms="0")
        async with build(load(given, {})) as sidecar:
            spare_the_collector()
            await measure(sidecar, directory)


if __name__ == "__main__":
    uvloop.run(main())
