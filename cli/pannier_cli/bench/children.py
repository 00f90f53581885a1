"""Child processes of a bench: started on free ports, pinned to cores, gone when the bench is."""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from pannier_cli.bench.cpu import tree_seconds
from pannier_cli.exit_codes import ExitCode
from pannier_cli.failures import CommandFailed

HOST: Final = "127.0.0.1"
_START_SECONDS: Final = 90.0
_STOP_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.05
_PROBE_SECONDS: Final = 30.0
_SHOWN_OUTPUT: Final = 3000
_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


def free_port() -> int:
    """Find a port that is free now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Child:
    """One server process: ready when ``answers`` says so, stopped by its own pid."""

    name: str
    command: Sequence[str]
    directory: Path
    port: int
    answers: Callable[[], bool]
    cores: frozenset[int] | None = None
    """Cores the process may use; None leaves it to the scheduler."""
    environment: Mapping[str, str] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.directory.mkdir(parents=True, exist_ok=True)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 (the commands are this package's own)
                self.command,
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment},
                preexec_fn=self._before_exec,  # noqa: PLW1509 (two system calls; benches have one thread)
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The child's pid while it runs."""
        if self._process is None:
            raise RuntimeError(f"{self.name} is not running")
        return self._process.pid

    @property
    def _log(self) -> Path:
        return self.directory / f"{self.name}.log"

    @property
    def url(self) -> str:
        """Where clients of HTTP connect."""
        return f"http://{HOST}:{self.port}"

    def cpu_seconds(self) -> float:
        """CPU seconds used so far by the process and those it started."""
        return tree_seconds(self.pid)

    def stop(self) -> None:
        """End it politely, then firmly."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _before_exec(self) -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if self.cores is not None:
            os.sched_setaffinity(0, self.cores)

    def _wait_until_ready(self) -> None:
        give_up_at = time.monotonic() + _START_SECONDS
        while not self._is_ready():
            if self._process is None or self._process.poll() is not None:
                raise self._failed("ended before it answered")
            if time.monotonic() > give_up_at:
                raise self._failed(f"did not answer within {_START_SECONDS:g} s")
            time.sleep(_POLL_SECONDS)

    def _is_ready(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.answers()
        return False

    def _failed(self, what: str) -> CommandFailed:
        output = self._log.read_text(errors="replace")[-_SHOWN_OUTPUT:].strip()
        return CommandFailed(f"{self.name} {what}:\n{output}", exit_code=ExitCode.CANNOT_START)


def http_status(port: int, path: str) -> int:
    """GET a path and return the status; OSError where nobody answers."""
    connection = http.client.HTTPConnection(HOST, port, timeout=_PROBE_SECONDS)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()


def redis_says_pong(port: int) -> bool:
    """Whether a Redis answers at the port."""
    with socket.create_connection((HOST, port), timeout=2) as connection:
        connection.sendall(b"PING\r\n")
        return connection.recv(7) == b"+PONG\r\n"
