"""The test servers do what fault tests rely on."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import servers
from tests.servers import HOST, ROOT, RedisServer, Server, ServerFailed, find_tool

STARTS_ONE_AND_WAITS = """
import sys, time
from tests.servers import RedisServer
server = RedisServer().start()
print(server.port, server.directory, flush=True)
time.sleep(60)
"""


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def test_missing_tool_names_the_make_target(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that is nowhere fails with the command that installs it."""
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ServerFailed, match="make test-tools"):
        find_tool("no-such-server")


def test_server_that_exits_shows_its_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a server printed before it died is the failure message."""
    server = RedisServer()
    monkeypatch.setattr(server, "command", lambda: [find_tool("redis-server"), "--no-such-option", "1"])
    with pytest.raises(ServerFailed, match="no-such-option"):
        server.start()
    server.close()


def test_restart_keeps_the_port_and_loses_the_data(redis_server: RedisServer) -> None:
    """A client with the same URL finds the restarted server, empty."""
    redis_server.ask("SET a 1")
    url = redis_server.url
    redis_server.kill()
    assert not is_listening(redis_server.port)
    redis_server.restart()
    assert redis_server.url == url
    assert redis_server.ask("EXISTS a") == ":0"


def test_paused_server_accepts_and_does_not_answer(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pause is what a hang looks like: the connection opens, no byte comes; after resume it does."""
    monkeypatch.setattr(servers, "_STOP_SECONDS", 0.1)
    redis_server.pause()
    with pytest.raises(TimeoutError):
        redis_server.ask("PING")
    redis_server.resume()
    monkeypatch.undo()
    assert redis_server.ask("PING") == "+PONG"


def test_server_dies_with_whoever_started_it() -> None:
    """A killed test run leaves no server behind."""
    parent = subprocess.Popen([sys.executable, "-c", STARTS_ONE_AND_WAITS], cwd=ROOT, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    with parent.stdout:
        port, directory = parent.stdout.readline().decode().split()
    assert is_listening(int(port))
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    give_up_at = time.monotonic() + 10
    while is_listening(int(port)):
        assert time.monotonic() < give_up_at
    Path(directory, "output.log").unlink()
    Path(directory).rmdir()


def test_stopped_server_says_so() -> None:
    """The repr tells address and state; asking a stopped server for its pid fails plainly."""
    server = Server()
    assert "stopped" in repr(server)
    with pytest.raises(ServerFailed, match="not running"):
        _ = server.pid
    server.close()
