"""A reply is waited for by the peer's time, not by that of a busy event loop."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from pannier_sidecar.patience import in_time

SHORT_SECONDS = 0.02


async def test_a_reply_that_a_busy_loop_did_not_look_at_yet_is_taken() -> None:
    """The bytes are in the socket when the timer fires late: they are read, not thrown away."""
    near, theirs = socket.socketpair()
    near.setblocking(False)  # noqa: FBT003 - the socket's own way of saying it
    reader, writer = await asyncio.open_connection(sock=near)

    async def reply() -> bytes:
        answer = await reader.readexactly(2)
        for _ in range(5):  # steps of a client between bytes and reply
            await asyncio.sleep(0)
        return answer

    waiting = asyncio.ensure_future(in_time(asyncio.ensure_future(reply()), SHORT_SECONDS))
    await asyncio.sleep(0)
    theirs.sendall(b"ok")
    time.sleep(3 * SHORT_SECONDS)  # noqa: ASYNC251 - what a busy loop is
    assert await waiting == b"ok"
    writer.close()
    await writer.wait_closed()
    theirs.close()


async def test_a_peer_that_is_silent_is_given_up_and_what_waits_for_it_is_cancelled() -> None:
    """A loop that is on time blames the peer, after one timeout."""
    cancelled = asyncio.Event()

    async def silence() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    with pytest.raises(TimeoutError):
        await in_time(asyncio.ensure_future(silence()), SHORT_SECONDS)
    await cancelled.wait()


async def test_what_the_peer_raises_comes_through() -> None:
    """An error is an answer as well."""

    async def refusal() -> None:
        raise ConnectionRefusedError

    with pytest.raises(ConnectionRefusedError):
        await in_time(asyncio.ensure_future(refusal()), SHORT_SECONDS)


async def test_a_caller_that_is_cancelled_takes_the_call_along() -> None:
    """Nothing goes on in the background after its caller left."""
    began, ended = asyncio.Event(), asyncio.Event()

    async def call() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    caller = asyncio.ensure_future(in_time(asyncio.ensure_future(call()), 60))
    await began.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await ended.wait()
