"""Real servers as child processes for the tests: Redis, DynamoDB Local, dynoxide and moto.

A server listens on a free port of this machine, is ready when it answers, keeps its output for the failure
message, is stopped by its own pid and dies with the process that started it. No test fakes Redis or DynamoDB;
what a fault looks like is tried by killing, pausing and restarting these. `tests/conftest.py` hands them out.
"""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"
ROOT = Path(__file__).resolve().parent.parent
TOOLS = Path(os.environ.get("PANNIER_TOOLS_DIR", ROOT / ".tools"))
AWS_TEST_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""Credentials that the emulators accept; with them no client goes looking for others on the network."""

_START_SECONDS = 60.0
_STOP_SECONDS = 5.0
_POLL_SECONDS = 0.02
_ATTEMPTS = 3
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


class ServerFailed(Exception):
    """A test server could not be started; the message holds its output."""


def find_tool(name: str) -> str:
    """Path of an executable: the checkout's own tools first, then PATH."""
    path = shutil.which(name, path=f"{TOOLS / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}")
    if path is None:
        raise ServerFailed(f"{name} is neither in {TOOLS / 'bin'} nor on PATH; `make test-tools` installs it")
    return path


def free_port() -> int:
    """Find a port that is free now; who loses the race for it tries again (see `Server.start`)."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Server:
    """One child process that serves one port. Subclasses name the command and say when it answers."""

    name = "server"

    def __init__(self) -> None:
        self.port = 0
        self.directory = Path(tempfile.mkdtemp(prefix=f"pannier-{self.name}-"))
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """Compose the command line for ``self.port``."""
        raise NotImplementedError

    def environment(self) -> dict[str, str] | None:
        """Variables of the child; None = those of this process."""
        return None

    def answers(self) -> bool:
        """Whether the server replies to a request; any OSError counts as no."""
        raise NotImplementedError

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"http://{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        """The child's pid while it runs."""
        if self._process is None:
            raise ServerFailed(f"{self.name} is not running")
        return self._process.pid

    @property
    def output(self) -> str:
        """The last lines the server printed."""
        log = self.directory / "output.log"
        return log.read_text(errors="replace")[-4000:] if log.exists() else ""

    def start(self) -> Self:
        """Start and wait until it answers; another process may snatch the free port, hence the attempts."""
        for attempt in range(1, _ATTEMPTS + 1):
            self.port = free_port()
            try:
                self._launch()
            except ServerFailed:
                if attempt == _ATTEMPTS:
                    raise
            else:
                break
        return self

    def _launch(self) -> None:
        with (self.directory / "output.log").open("wb") as log:
            self._process = subprocess.Popen(
                self.command(),
                cwd=self.directory,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 (one system call, no allocation, no lock)
            )
        self.wait_until(self.answers)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Poll until the condition holds; a server that exits or takes too long fails with its output."""
        give_up_at = time.monotonic() + _START_SECONDS
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if condition():
                    return
            if self._process is not None and self._process.poll() is not None:
                code = self._process.returncode
                self._process = None
                raise ServerFailed(f"{self.name} exited with {code} on port {self.port}:\n{self.output}")
            if time.monotonic() > give_up_at:
                self.kill()
                raise ServerFailed(
                    f"{self.name} did not answer within {_START_SECONDS:.0f} s:\n{self.output}"
                )
            time.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        """End it politely, then firmly. Stopping a stopped server is fine."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def kill(self) -> None:
        """SIGKILL, as a crash would: connections break, nothing is flushed."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Go on after `pause`."""
        os.kill(self.pid, signal.SIGCONT)

    def restart(self) -> None:
        """Start again on the same port, stopping first if it runs; what was in memory is gone."""
        self.stop()
        self._launch()

    def close(self) -> None:
        """Stop and remove the working directory."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "stopped" if self._process is None else f"pid {self._process.pid}"
        return f"<{type(self).__name__} {self.url} {state}>"


class RedisServer(Server):
    """redis-server without persistence."""

    name = "redis-server"

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}"

    def command(self) -> list[str]:
        options = {
            "port": str(self.port),
            "bind": HOST,
            "save": "",
            "appendonly": "no",
            "dir": str(self.directory),
        }
        return [
            find_tool("redis-server"),
            *(part for name, value in options.items() for part in (f"--{name}", value)),
        ]

    def answers(self) -> bool:
        return self.ask("PING") == "+PONG"

    def flush(self) -> None:
        """Remove every key; loaded scripts stay."""
        if self.ask("FLUSHALL") != "+OK":
            raise ServerFailed(f"{self!r} refused FLUSHALL")

    def ask(self, command: str) -> str:
        """One inline command, one line of answer, without a client library."""
        with socket.create_connection((HOST, self.port), timeout=_STOP_SECONDS) as connection:
            connection.sendall(f"{command}\r\n".encode())
            with connection.makefile("rb") as answer:
                return answer.readline().decode().strip()


class _DynamoDB(Server):
    def answers(self) -> bool:
        """Any HTTP status will do: an unsigned request is refused, by a server that is up."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=_STOP_SECONDS)
        try:
            connection.request("GET", "/")
            connection.getresponse().read()
        finally:
            connection.close()
        return True


class DynamoDBLocal(_DynamoDB):
    """AWS's own emulator, in memory, one database whatever the credentials.

    It knows no option for an address and listens on every interface; the tests reach it at 127.0.0.1, and it
    holds nothing but test rows.
    """

    name = "dynamodb-local"

    def command(self) -> list[str]:
        jars = TOOLS / "dynamodb-local"
        if not jars.is_dir():
            raise ServerFailed(f"{jars} is missing; `make test-tools` installs DynamoDB Local")
        return [
            find_tool("java"),
            "-Xmx512m",
            "-XX:+UseSerialGC",
            f"-Djava.library.path={jars}",
            "-cp",
            f"{jars}/*",
            "com.amazonaws.services.dynamodbv2.local.main.ServerRunner",
            "-inMemory",
            "-sharedDb",
            "-disableTelemetry",
            "-port",
            str(self.port),
        ]


class Dynoxide(_DynamoDB):
    """A second DynamoDB emulator: one static binary, in memory, quick, and of another mind here and there."""

    name = "dynoxide"

    def command(self) -> list[str]:
        return [find_tool("dynoxide"), "serve", "--host", HOST, "--port", str(self.port)]


class Moto(_DynamoDB):
    """A third emulator, in Python: the one that knows tags and point-in-time recovery."""

    name = "moto"

    def command(self) -> list[str]:
        return [str(Path(sys.executable).parent / "moto_server"), "-H", HOST, "-p", str(self.port)]
