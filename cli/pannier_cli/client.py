"""A small blocking client of the sidecar's HTTP API over TCP or a Unix socket: the standard library only.

It is for commands that send a handful of requests, not for load. Network faults become `CommandFailed` with
the exit code for an unreachable sidecar; an RFC 9457 problem becomes `SidecarRefused`.
"""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from pannier_cli.exit_codes import ExitCode
from pannier_cli.failures import CommandFailed

DEFAULT_URL = "http://127.0.0.1:8470"
TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a sidecar listens: ``uds`` wins over ``url`` where both are given."""

    url: str = DEFAULT_URL
    uds: str | None = None

    def __str__(self) -> str:
        return f"unix:{self.uds}" if self.uds else self.url

    def connect(self) -> http.client.HTTPConnection:
        """Make a connection object; nothing is sent before the first request."""
        if self.uds:
            return _UnixConnection(self.uds)
        parts = urlsplit(self.url if "://" in self.url else f"http://{self.url}")
        try:
            port = parts.port
        except ValueError as wrong:
            raise CommandFailed(f"{self.url!r}: {wrong}", exit_code=ExitCode.USAGE) from wrong
        if parts.scheme != "http" or not parts.hostname or parts.path.strip("/"):
            raise CommandFailed(
                f"{self.url!r} is not the address of a sidecar",
                exit_code=ExitCode.USAGE,
                hint=f"Give http://HOST:PORT, for example {DEFAULT_URL}.",
            )
        return http.client.HTTPConnection(parts.hostname, port, timeout=TIMEOUT_SECONDS)


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT_SECONDS)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket's path."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class SidecarRefused(CommandFailed):
    """The sidecar answered with a problem; ``problem`` is its document."""

    def __init__(self, problem: dict[str, Any], status: int) -> None:
        self.problem = problem
        self.status = status
        unknown = ExitCode.UNKNOWN if status in {502, 503, 504} else ExitCode.REFUSED
        super().__init__(problem_sentence(problem), exit_code=unknown)


class Sidecar:
    """One connection to a sidecar, used in a ``with`` block."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._connection = endpoint.connect()

    def __repr__(self) -> str:
        return f"<Sidecar at {self.endpoint}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Send one request and return the decoded JSON answer; raises on anything but success."""
        payload = msgspec.json.encode(body) if body is not None else None
        headers = {"Content-Type": "application/json"} if payload is not None else {}
        try:
            self._connection.request(method, path, payload, headers)
            response = self._connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException) as fault:
            self._connection.close()
            raise CommandFailed(
                f"no sidecar answers at {self.endpoint}: {_reason(fault)}",
                exit_code=ExitCode.UNREACHABLE,
                hint="Start one with `pannier serve --specs DIR`, or give its address with --url or --uds.",
            ) from fault
        return self._decoded(response.status, answer)

    def _decoded(self, status: int, answer: bytes) -> Any:
        try:
            document = msgspec.json.decode(answer) if answer else None
        except msgspec.DecodeError:
            document = None
        if status >= HTTPStatus.MULTIPLE_CHOICES:
            problem = document if isinstance(document, dict) else {}
            raise SidecarRefused({"title": f"HTTP {status}", **problem}, status)
        if document is None and answer:
            raise CommandFailed(
                f"{self.endpoint} does not answer in JSON: it is not a Pannier sidecar",
                exit_code=ExitCode.UNREACHABLE,
            )
        return document

    def read(self, reads: list[dict[str, Any]], *, explain: bool) -> list[dict[str, Any]]:
        """``POST /v1/features/read``; answers in the order of ``reads``."""
        body = {"reads": reads, "explain": explain}
        results: list[dict[str, Any]] = self.call("POST", "/v1/features/read", body)["results"]
        return results

    def write(self, writes: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """``POST /v1/features/write``; one verdict per write, in their order."""
        results: list[dict[str, Any]] = self.call("POST", "/v1/features/write", {"writes": writes})["results"]
        return results

    def groups(self) -> list[dict[str, Any]]:
        """``GET /v1/groups``."""
        answer: list[dict[str, Any]] = self.call("GET", "/v1/groups")["groups"]
        return answer

    def group(self, name: str) -> dict[str, Any]:
        """``GET /v1/groups/{name}``."""
        answer: dict[str, Any] = self.call("GET", f"/v1/groups/{quote(name, safe='')}")
        return answer

    def row(self, method: str, group: str, row_id: str, query: Iterable[tuple[str, str]] = ()) -> Any:
        """Call ``/v1/groups/{group}/rows/{id}`` with a method."""
        path = f"/v1/groups/{quote(group, safe='')}/rows/{quote(row_id, safe='')}"
        query = list(query)
        return self.call(method, f"{path}?{urlencode(query)}" if query else path)


def problem_sentence(problem: dict[str, Any]) -> str:
    """Every fault of an RFC 9457 problem, one per line: in which field, and what is wrong."""
    faults = [_fault(item) for item in problem.get("errors", ()) if isinstance(item, dict)]
    return "\n  ".join(faults or [str(problem.get("detail") or problem.get("title"))])


def _fault(item: dict[str, Any]) -> str:
    where, what = item.get("path"), item.get("message", "")
    return f"{where}: {what}" if where else str(what)


def _reason(fault: Exception) -> str:
    if isinstance(fault, TimeoutError):
        return f"no answer within {TIMEOUT_SECONDS:g} s"
    if isinstance(fault, OSError) and fault.strerror:
        return fault.strerror.lower()
    return f"it does not speak HTTP ({type(fault).__name__})"
