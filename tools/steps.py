"""What every installation step is made of: commands whose output goes to a log, progress, and stamps.

Only the standard library: this runs on a machine that has Python, git and make and nothing else.
`tools/bootstrap.py` says which steps there are.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".tools"
BIN = TOOLS / "bin"
LOG = TOOLS / "install.log"
_TAIL_LINES = 25
_POLL_SECONDS = 0.2
_REPORT_SECONDS = 10.0


class StepFailed(Exception):
    """A step could not be done; the message says which one, why, and what to do about it."""


@dataclass(frozen=True)
class Expected:
    """How many lines a command will print when it is all done, and of what: its progress."""

    lines: int
    of: str

    def progress(self, printed: bytes) -> str:
        """How far a command is that printed this."""
        done = len(printed.splitlines())
        return f", {done} of {self.lines} {self.of}"


def run(
    title: str,
    command: Sequence[str | Path],
    *,
    advice: str,
    env: Mapping[str, str] | None = None,
    expected: Expected | None = None,
) -> None:
    """Run a command with its output in the log, showing the time it takes; on failure show the log's end."""
    LOG.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with LOG.open("ab") as log:
        start_of_output = log.tell()
        log.write(f"\n== {title}: {' '.join(map(str, command))}\n".encode())
        log.flush()
        output = log.tell()
        try:
            process = subprocess.Popen(
                list(map(str, command)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env={**os.environ, **(env or {})},
            )
        except OSError as error:
            raise StepFailed(f"{title}: cannot start {command[0]}: {error}\n{advice}") from error
        _wait(process, title, started, lambda: _progress(expected, output))
    if process.returncode:
        with LOG.open("rb") as log:
            log.seek(start_of_output)
            tail = "\n".join(
                f"    {line}" for line in log.read().decode(errors="replace").splitlines()[-_TAIL_LINES:]
            )
        raise StepFailed(
            f"{title} failed (exit code {process.returncode}):\n{tail}\n\n{advice}\nWhole log: {LOG}"
        )
    print(f"\r  {title}: done in {time.monotonic() - started:.0f} s{_clear_line()}", flush=True)


def _clear_line() -> str:
    return "\x1b[K" if sys.stdout.isatty() else ""


def _progress(expected: Expected | None, output: int) -> str:
    if expected is None:
        return ""
    with LOG.open("rb") as log:
        log.seek(output)
        return expected.progress(log.read())


def _wait(process: subprocess.Popen[bytes], title: str, started: float, progress: Callable[[], str]) -> None:
    """Show how it goes: in place on a terminal; elsewhere a line every ten seconds, if there is a count."""
    animate = sys.stdout.isatty()
    reported = started
    if not animate:
        print(f"  {title} ...", flush=True)
    try:
        while process.poll() is None:
            now = time.monotonic()
            if animate:
                print(f"\r  {title} ... {now - started:.0f} s{progress()} ", end="", flush=True)
            elif now - reported >= _REPORT_SECONDS and (made := progress()):
                reported = now
                print(f"  {title} ... {now - started:.0f} s{made}", flush=True)
            time.sleep(_POLL_SECONDS)
    except BaseException:
        process.terminate()
        process.wait()
        raise


class Stamp:
    """A file that says a step was finished, and from what: other inputs or another place make it stale."""

    def __init__(self, path: Path, *inputs: Path | str) -> None:
        self._path = path
        digest = hashlib.sha256(f"{ROOT}\n{sys.version}\n".encode())
        for part in inputs:
            digest.update(part.read_bytes() if isinstance(part, Path) else part.encode())
        self._wanted = digest.hexdigest()

    def is_current(self) -> bool:
        """Whether the step was finished from these inputs."""
        return self._path.exists() and self._path.read_text() == self._wanted

    def write(self) -> None:
        """Record that the step is finished; called last, so an interrupted step starts again."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(self._wanted)

    def __repr__(self) -> str:
        return f"<Stamp {self._path.name} {'current' if self.is_current() else 'stale'}>"


def check_sha256(path: Path, expected: str, what: str) -> None:
    """Refuse a download that is not byte for byte what was tested."""
    actual = hashlib.sha256(path.read_bytes()).hexdigest()
    if actual != expected:
        path.unlink()
        raise StepFailed(
            f"{what}: {path.name} has sha256 {actual}, expected {expected}; removed it.\n"
            "Try again; if it stays so, the registry does not hold what this release was tested with."
        )
