"""The data port on a Unix socket: who gets in, and whose file lies on the path."""

from __future__ import annotations

import asyncio
import socket
import stat
from pathlib import Path

import aiohttp
import pytest
from tests.sidecars import a_sidecar

from pannier_sidecar.server import CannotListen


async def unix_get(path: Path, url: str) -> tuple[int, bytes]:
    connector = aiohttp.UnixConnector(str(path))
    async with aiohttp.ClientSession(connector=connector) as session, session.get(f"http://p{url}") as answer:
        return answer.status, await answer.read()


async def test_a_unix_socket_serves_alone_or_beside_tcp(tmp_path: Path) -> None:
    """Whoever sees the directory reaches it, what a killed sidecar left is replaced, the end removes it."""
    path = tmp_path / "pannier.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    async with a_sidecar(tmp_path, uds=str(path)) as client:
        assert client.sidecar.data.urls[-1] == f"unix:{path}"
        assert (await unix_get(path, "/v1/groups"))[0] == 200
        assert stat.S_IMODE(path.stat().st_mode) == 0o666
        assert (await client.send("GET", "/v1/groups")).status == 200
    assert not path.exists()


async def test_a_sidecar_that_still_drains_leaves_the_socket_of_its_successor(tmp_path: Path) -> None:
    """Restarted while a request was under way: the end of the old one must not hide the new one."""
    path = tmp_path / "pannier.sock"
    old = a_sidecar(tmp_path / "old", uds=str(path), drain_seconds="30")
    readyz = f"{(await old.__aenter__()).admin_url}/readyz"
    _, request = await asyncio.open_unix_connection(path)
    request.write(b"POST /v1/features/write HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
    assert (await unix_get(path, "/v1/groups"))[0] == 200
    ending = asyncio.create_task(old.__aexit__(None, None, None))
    async with aiohttp.ClientSession() as session, asyncio.timeout(10):
        while (await session.get(readyz)).status != 503:  # noqa: ASYNC110 (only it tells that the stop began)
            await asyncio.sleep(0.01)
    async with a_sidecar(tmp_path / "new", uds=str(path)):
        assert not ending.done()
        request.close()
        await asyncio.gather(request.wait_closed(), ending)
        assert (await unix_get(path, "/v1/groups"))[0] == 200
    assert not path.exists()


@pytest.mark.parametrize("what", ["a live socket", "a busy socket", "a file"])
async def test_what_is_not_ours_on_the_socket_path_is_left_alone(tmp_path: Path, what: str) -> None:
    """A living server's socket or a plain file is never removed; the start fails instead."""
    path = tmp_path / "pannier.sock"
    with socket.socket(socket.AF_UNIX) as other, socket.socket(socket.AF_UNIX) as waiting:
        if what == "a file":
            path.write_text("precious")
        else:
            other.bind(str(path))
            other.listen(0)
        if what == "a busy socket":
            waiting.connect(str(path))  # its queue is full now
        with pytest.raises(CannotListen, match=str(path)):
            async with a_sidecar(tmp_path, uds=str(path)):
                pass
        assert path.exists()
