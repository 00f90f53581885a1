"""What goes over the wire to a feature server and back: HTTP/1.1 in every form that servers use."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field

import pytest
from tests.servers import HOST

from pannier.option_values import Address
from pannier_sidecar.errors import TierError
from pannier_sidecar.on_demand.authorities import TrustedAuthorities
from pannier_sidecar.on_demand.server_client import MAX_ANSWER_BYTES, ServerClient
from pannier_sidecar.on_demand_plan import ServerAddress

SERVER = ServerAddress("http", "scores", "shop", 80, "/v1/features")
JSON = b"Content-Type: application/json\r\n"
BODY = b'{"results":[]}'
WHOLE = b"HTTP/1.1 200 OK\r\n" + JSON + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
CHUNKED = b"HTTP/1.1 200 OK\r\n" + JSON + b"Transfer-Encoding: chunked\r\n\r\n"
Script = Callable[[asyncio.StreamWriter], Awaitable[None]]


def pieces(*parts: bytes, hangs_up: bool = False) -> Script:
    """Write these one by one, so that they arrive apart; then hang up, if wanted."""

    async def script(writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.005)
        if hangs_up:
            writer.close()

    return script


@dataclass
class RawServer:
    """Answers as its script says, and keeps what it was sent."""

    port: int = 0
    script: Script = field(default_factory=lambda: pieces(WHOLE))
    heads: list[list[bytes]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def connections(self) -> int:
        """How many there were so far."""
        return len(self.tasks)

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.tasks.append(asyncio.create_task(self.serve(reader, writer), name="connection"))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer until somebody hangs up."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while not writer.is_closing():
                head = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[:-2]
                (length,) = [int(line[15:]) for line in head if line.lower().startswith(b"content-length:")]
                self.heads.append(head)
                self.bodies.append(await reader.readexactly(length))
                await self.script(writer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@pytest.fixture
async def server() -> AsyncIterator[RawServer]:
    """One on a free port."""
    raw = RawServer()
    listening = await asyncio.start_server(raw.accept, HOST, 0)
    raw.port = listening.sockets[0].getsockname()[1]
    yield raw
    listening.close()
    await listening.wait_closed()
    await asyncio.gather(*raw.tasks)  # its clients have gone


@pytest.fixture
async def client(server: RawServer) -> AsyncIterator[ServerClient]:
    """A client that finds it."""
    where = {"scores.shop": Address(HOST, server.port)}
    async with ServerClient(trusted=TrustedAuthorities(None), development=where) as opened:
        yield opened


async def call(client: ServerClient, seconds: float = 5.0, **trace: str) -> bytes:
    return await client.call(SERVER, b'{"reads":[]}', seconds, trace)


async def test_a_call_is_one_request_with_the_headers_of_the_protocol(
    server: RawServer, client: ServerClient
) -> None:
    """Each once, in the connection that the call before has left."""
    assert await call(client, 0.25, traceparent="00-a-b-01", tracestate="k=v") == BODY
    assert await call(client) == BODY
    assert server.connections == 1
    assert server.bodies == [b'{"reads":[]}'] * 2
    (first, *lines), (_, *others) = server.heads
    assert first == b"POST /v1/features HTTP/1.1"
    headers = dict(line.split(b": ", 1) for line in lines)
    assert len(headers) == len(lines)
    assert headers.pop(b"User-Agent").startswith(b"Python/")
    assert headers.pop(b"Accept-Encoding") == b"identity"
    assert headers == {
        b"Host": b"%b:%d" % (HOST.encode(), server.port),
        b"Content-Type": b"application/json",
        b"Accept": b"application/json",
        b"Content-Length": b"12",
        b"Pannier-Protocol": b"1",
        b"Pannier-Deadline-Ms": b"250",
        b"traceparent": b"00-a-b-01",
        b"tracestate": b"k=v",
    }
    assert b"Pannier-Deadline-Ms: 5000" in others
    assert not any(line.startswith(b"trace") for line in others)


def answers() -> Iterator[object]:
    """Every form of the same answer."""
    chunks = b"5\r\n" + BODY[:5] + b"\r\n9;x=y\r\n" + BODY[5:] + b"\r\n"
    head = b"HTTP/1.1 200 OK\r\n" + JSON
    yield pytest.param(pieces(WHOLE), id="whole")
    yield pytest.param(pieces(*(WHOLE[n : n + 7] for n in range(0, len(WHOLE), 7))), id="in pieces")
    yield pytest.param(pieces(CHUNKED + chunks + b"0\r\n\r\n"), id="chunked")
    yield pytest.param(pieces(CHUNKED, chunks[:3], chunks[3:], b"0\r\n", b"Late: 1\r\n\r\n"), id="in chunks")
    yield pytest.param(pieces(head + b"\r\n" + BODY, hangs_up=True), id="until it hangs up")
    yield pytest.param(pieces(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", WHOLE), id="after a 103")
    yield pytest.param(
        pieces(WHOLE.replace(b"200 OK\r\n", b"200 OK\r\nConnection: close\r\n")), id="the last"
    )
    yield pytest.param(pieces(WHOLE.replace(b"/json", b"/JSON; charset=utf-8")), id="with a charset")
    yield pytest.param(pieces(WHOLE.replace(b"HTTP/1.1", b"HTTP/1.0"), hangs_up=True), id="HTTP/1.0")


@pytest.mark.parametrize("script", list(answers()))
async def test_an_answer_is_read_in_whatever_form_it_comes(
    server: RawServer, client: ServerClient, script: Script
) -> None:
    """And the next call is answered too, by that connection or another."""
    server.script = script
    assert await call(client) == BODY
    server.script = pieces(WHOLE)
    assert await call(client) == BODY


def failures() -> Iterator[object]:
    """Answers that cannot be used, with reason and a word of the message."""
    head = b"HTTP/1.1 200 OK\r\n" + JSON
    yield pytest.param(pieces(hangs_up=True), "TierUnavailable", "cannot be reached", id="no word")
    yield pytest.param(pieces(WHOLE[:-3], hangs_up=True), "TierUnavailable", "cannot be reached", id="half")
    yield pytest.param(
        pieces(CHUNKED + b"5\r\nabc", hangs_up=True),
        "TierUnavailable",
        "cannot be reached",
        id="half a chunk",
    )
    yield pytest.param(
        pieces(CHUNKED + b"zz\r\n", hangs_up=True), "TierUnavailable", "cannot be reached", id="bad chunk"
    )
    yield pytest.param(pieces(b"SSH-2.0-x\r\n\r\n"), "TierUnavailable", "cannot be reached", id="no HTTP")
    yield pytest.param(
        pieces(b"HTTP/1.1 200 OK\r\nX: %b\r\n\r\n" % (b"x" * 9_000)),
        "TierUnavailable",
        "cannot be reached",
        id="a header without end",
    )
    yield pytest.param(
        pieces(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
        "TierUnavailable",
        "101",
        id="101",
    )
    yield pytest.param(pieces(b"HTTP/1.1 204 No Content\r\n\r\n"), "TierUnavailable", "204", id="204")
    yield pytest.param(
        pieces(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"), "TierGarbled", "octet-stream", id="untyped"
    )
    yield pytest.param(pieces(WHOLE[:40]), "TierTimeout", "within 0.5 s", id="stuck in the head")
    yield pytest.param(pieces(WHOLE[:-3]), "TierTimeout", "within 0.5 s", id="stuck in the body")
    bomb = gzip.compress(b" " * (MAX_ANSWER_BYTES + 1))
    yield pytest.param(
        pieces(head + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb) + bomb),
        "TierGarbled",
        "coding 'gzip'",
        id="compressed",
    )


@pytest.mark.parametrize(("script", "reason", "says"), list(failures()))
async def test_what_is_no_answer_is_an_error_and_spoils_no_other_call(
    server: RawServer, client: ServerClient, script: Script, reason: str, says: str
) -> None:
    """Its connection is not used again: the next call has one of its own, and is answered."""
    server.script = script
    with pytest.raises(TierError) as failed:
        await call(client, 0.5)
    assert (failed.value.reason, says in str(failed.value)) == (reason, True), failed.value
    server.script = pieces(WHOLE)
    assert await call(client) == BODY


async def test_a_call_that_is_given_up_leaves_its_connection(server: RawServer, client: ServerClient) -> None:
    """Its answer, late, must not be taken for another's."""
    asked, may_answer = asyncio.Event(), asyncio.Event()

    async def late(writer: asyncio.StreamWriter) -> None:
        asked.set()
        await may_answer.wait()
        await pieces(WHOLE.replace(BODY, b'{"results":{}}'))(writer)

    server.script = late
    given_up = asyncio.create_task(call(client))
    await asked.wait()
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    server.script = pieces(WHOLE)
    may_answer.set()
    assert await call(client) == BODY
    assert server.connections == 2


async def test_a_connection_that_the_server_has_closed_is_not_used_again(
    server: RawServer, client: ServerClient
) -> None:
    """A keep-alive that ended between two calls costs none of them its answer."""
    server.script = pieces(WHOLE, hangs_up=True)
    for _ in range(3):
        assert await call(client) == BODY
        await asyncio.sleep(0.05)
    assert server.connections == 3


async def test_what_a_server_says_unasked_is_no_answer(server: RawServer, client: ServerClient) -> None:
    """A 408 for a connection that idled: the next call takes another connection."""
    server.script = pieces(WHOLE, b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 4\r\n\r\nlate")
    assert await call(client) == BODY
    await asyncio.sleep(0.05)
    server.script = pieces(WHOLE)
    assert await call(client) == BODY
    assert server.connections == 2


async def test_a_server_that_speaks_first_is_not_called_for_ever(
    server: RawServer, client: ServerClient
) -> None:
    """Whatever it is, it is no feature server: the call ends as soon as that is known."""

    async def banner(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-x\r\n")
        writer.close()

    server.serve = banner  # type: ignore[method-assign]
    with pytest.raises(TierError) as failed:
        await call(client)
    assert failed.value.reason == "TierUnavailable"


async def test_a_long_request_arrives_whole(server: RawServer, client: ServerClient) -> None:
    """Megabytes, against a server that reads them as they come."""
    body = b'{"reads":[' + b" " * 5_000_000 + b"]}"
    assert await client.call(SERVER, body, 20.0, {}) == BODY
    assert server.bodies == [body]
