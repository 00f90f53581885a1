"""The outside load generator: Debian's ``wrk``, one thread, closed loop, bodies from a file.

Its figures come as one JSON line that the script prints at the end; the human text around it is ignored.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from pannier_cli.bench.binaries import find_program
from pannier_cli.failures import CommandFailed

CONNECTIONS: Final = 32
TIMEOUT_SECONDS: Final = 60
"""wrk counts slower answers as errors; its own 2 s are too few for a server that is saturated."""
SCRIPT: Final = r"""
local bodies, count, turn = {}, 0, 0
function init(args)
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/json"
  for line in io.lines(args[1]) do
    count = count + 1
    bodies[count] = wrk.format(nil, nil, nil, line)
  end
end
function request()
  turn = turn % count + 1
  return bodies[turn]
end
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '{"requests":%d,"duration_us":%d,"p50_us":%.0f,"p99_us":%.0f,"errors":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""


class WrkRun(msgspec.Struct, frozen=True, kw_only=True):
    """What one run of wrk measured."""

    requests: int
    seconds: float
    requests_per_second: float
    p50_us: float
    p99_us: float
    errors: int
    """Connections, reads and writes that failed, timeouts, and answers outside 2xx and 3xx."""


class _Line(msgspec.Struct):
    requests: int
    duration_us: int
    p50_us: float
    p99_us: float
    errors: int


def parse(output: str) -> WrkRun:
    """Find the JSON line in what wrk printed."""
    lines = [line for line in output.splitlines() if line.startswith('{"requests"')]
    if len(lines) != 1:
        raise CommandFailed(f"wrk did not report its figures:\n{output[-1000:]}")
    line = msgspec.json.decode(lines[0], type=_Line)
    seconds = line.duration_us / 1_000_000
    return WrkRun(
        requests=line.requests,
        seconds=seconds,
        requests_per_second=line.requests / seconds if seconds else 0.0,
        p50_us=line.p50_us,
        p99_us=line.p99_us,
        errors=line.errors,
    )


def run(
    url: str, bodies: Path, *, seconds: int, cores: frozenset[int] | None, connections: int = CONNECTIONS
) -> WrkRun:
    """Send the bodies (one per line of the file) in turn, as fast as answers come."""
    script = bodies.with_suffix(".lua")
    script.write_text(SCRIPT)
    options = ["--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s"]
    options += ["--timeout", f"{TIMEOUT_SECONDS}s"]
    command = [find_program("wrk"), *options, "--script", str(script), url, "--", str(bodies)]
    return parse(_output(command, cores))


def _output(command: Sequence[str], cores: frozenset[int] | None) -> str:
    def pin() -> None:
        os.sched_setaffinity(0, cores or ())

    done = subprocess.run(  # noqa: S603 (the command is this module's own)
        command,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=pin if cores else None,
    )
    if done.returncode != 0:
        raise CommandFailed(f"wrk failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
