"""A small blocking client of the sidecar's HTTP API over TCP or a Unix socket: the standard library only.

It is for commands that send a handful of requests, not for load. Network faults become `CommandFailed` with
the exit code for an unreachable sidecar; an RFC 9457 problem becomes `SidecarRefused`.
"""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from pannier_cli.exit_codes import ExitCode
from pannier_cli.failures import CommandFailed

T = TypeVar("T")

DEFAULT_URL = "http://127.0.0.1:8470"
TIMEOUT_SECONDS = 30.0
_WRONG_PORT = "Is that the sidecar's other port? `status` asks its admin port, everything else its data port."


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a sidecar listens: ``uds`` wins over ``url`` where both are given."""

    url: str = DEFAULT_URL
    uds: str | None = None
    flags: str = "--url or --uds"
    """How a person would name another one."""

    def __str__(self) -> str:
        return f"unix:{self.uds}" if self.uds else self.url

    def connect(self) -> http.client.HTTPConnection:
        """Make a connection object; nothing is sent before the first request."""
        if self.uds:
            return _UnixConnection(self.uds)
        try:
            parts = urlsplit(self.url if "://" in self.url else f"http://{self.url}")
            if parts.scheme != "http" or not parts.hostname or parts.path.strip("/"):
                raise self._no_address()
            return http.client.HTTPConnection(parts.hostname, parts.port, timeout=TIMEOUT_SECONDS)
        except (ValueError, http.client.InvalidURL) as wrong:
            raise self._no_address(f": {wrong}") from wrong

    def _no_address(self, why: str = "") -> CommandFailed:
        return CommandFailed(
            f"{self.url!r} is not the address of a sidecar{why}",
            exit_code=ExitCode.USAGE,
            hint=f"Give http://HOST:PORT, for example {DEFAULT_URL}.",
        )


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
        hint = _WRONG_PORT if problem.get("reason") == "UnknownRoute" else ""
        super().__init__(problem_sentence(problem), exit_code=unknown, hint=hint)


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

    def call(self, method: str, path: str, body: Any = None, *, has: str = "") -> dict[str, Any]:
        """Send one request and return the object it is answered with, which ``has`` a member of that name.

        Raises on anything but success.
        """
        payload = _utf8(msgspec.json.encode, body) if body is not None else None
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
                hint="Start one with `pannier serve --specs DIR`, or give its address with "
                f"{self.endpoint.flags}.",
            ) from fault
        return self._decoded(response.status, answer, has)

    def _decoded(self, status: int, answer: bytes, has: str) -> dict[str, Any]:
        try:
            document = msgspec.json.decode(answer)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            document = None
        if status >= HTTPStatus.MULTIPLE_CHOICES:
            title = f"{self.endpoint} answers with HTTP {status} and no reason: is it a Pannier sidecar?"
            raise SidecarRefused({"title": title, **(document if isinstance(document, dict) else {})}, status)
        if not isinstance(document, dict) or (has and has not in document):
            raise CommandFailed(
                f"{self.endpoint} does not answer as a Pannier sidecar does", exit_code=ExitCode.UNREACHABLE
            )
        return document

    def read(self, reads: list[dict[str, Any]], *, explain: bool) -> list[dict[str, Any]]:
        """``POST /v1/features/read``; answers in the order of ``reads``."""
        body = {"reads": reads, "explain": explain}
        results: list[dict[str, Any]] = self.call("POST", "/v1/features/read", body, has="results")["results"]
        return results

    def write(self, writes: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """``POST /v1/features/write``; one verdict per write, in their order."""
        answer = self.call("POST", "/v1/features/write", {"writes": writes}, has="results")
        results: list[dict[str, Any]] = answer["results"]
        return results

    def groups(self) -> list[dict[str, Any]]:
        """``GET /v1/groups``."""
        answer: list[dict[str, Any]] = self.call("GET", "/v1/groups", has="groups")["groups"]
        return answer

    def group(self, name: str) -> dict[str, Any]:
        """``GET /v1/groups/{name}``."""
        return self.call("GET", f"/v1/groups/{_utf8(_quoted, name)}", has="features")

    def row(
        self, method: str, group: str, row_id: str, query: Iterable[tuple[str, str]] = ()
    ) -> dict[str, Any]:
        """Call ``/v1/groups/{group}/rows/{id}`` with a method."""
        path = f"/v1/groups/{_utf8(_quoted, group)}/rows/{_utf8(_quoted, row_id)}"
        query = list(query)
        return self.call(method, f"{path}?{_utf8(urlencode, query)}" if query else path, has="id")


def _quoted(text: str) -> str:
    return quote(text, safe="")


def _utf8(encode: Callable[[Any], T], value: Any) -> T:
    """Encode what came from the command line, where bytes that are no UTF-8 can hide in a str."""
    try:
        return encode(value)
    except UnicodeEncodeError as error:
        raise CommandFailed(
            f"an argument is not UTF-8 text: {error.object[: error.end]!a}", exit_code=ExitCode.USAGE
        ) from error


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
    if isinstance(fault, OSError):
        return (fault.strerror or str(fault)).lower()
    return f"it does not speak HTTP ({type(fault).__name__})"
