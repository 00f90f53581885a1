"""`make run` as a person meets it: the demonstration as a process of its own, with real data over HTTP."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.servers import HOST, ROOT, free_port

START_SECONDS = 100.0
STOP_SECONDS = 20.0
LAST_SENTENCE = "the next `make run` is quick"


@contextlib.contextmanager
def demonstration(output: Path, data: Path, port: int, admin: int) -> Iterator[subprocess.Popen[bytes]]:
    """The demonstration without flights, which are what takes time; ended hard if a test forgot to."""
    options = {"http": f"{HOST}:{port}", "admin": f"{HOST}:{admin}", "flights": "none", "data": str(data)}
    flags = [part for name, value in options.items() for part in (f"--{name}", value)]
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "examples.flights.demo", *flags],
            cwd=ROOT,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "COLUMNS": "120"},
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(STOP_SECONDS)


def wait_for(text: str, output: Path, process: subprocess.Popen[bytes]) -> None:
    """Poll the output for a sentence; fail with all of it when the process ends or takes too long."""
    give_up_at = time.monotonic() + START_SECONDS
    while text not in output.read_text():
        if process.poll() is not None or time.monotonic() > give_up_at:
            pytest.fail(f"{text!r} did not come; exit code {process.poll()}:\n{output.read_text()}")
        time.sleep(0.05)


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_make_run_loads_shows_answers_and_stops(tmp_path: Path) -> None:
    """The first run loads and shows answers; a signal ends it and its sidecar; the second finds the data."""
    port, admin, data = free_port(), free_port(), tmp_path / "data"
    first, second = tmp_path / "first.log", tmp_path / "second.log"
    with demonstration(first, data, port, admin) as process:
        wait_for(LAST_SENTENCE, first, process)
        assert is_listening(port)
        process.send_signal(signal.SIGTERM)
        assert process.wait(STOP_SECONDS) == 0
    assert not is_listening(port)
    assert not is_listening(admin)
    said = first.read_text()
    assert "BOEING 767-223, 255 seats, built 1986" in said
    assert "15 13 18 17 15 22 22 13 7 9 7 21" in said
    assert f"curl -s http://{HOST}:{port}/v1/features/read" in said
    with demonstration(second, data, port, admin) as process:
        wait_for(LAST_SENTENCE, second, process)
        process.send_signal(signal.SIGINT)
        assert process.wait(STOP_SECONDS) == 0
    assert "loaded already" in second.read_text()


def test_make_run_says_what_to_do_about_taken_ports(tmp_path: Path) -> None:
    """Taken ports are told before anything starts, all at once, with the variables that choose others."""
    output = tmp_path / "out.log"
    with socket.create_server((HOST, 0)) as one, socket.create_server((HOST, 0)) as other:
        port, admin = one.getsockname()[1], other.getsockname()[1]
        with demonstration(output, tmp_path / "data", port, admin) as process:
            assert process.wait(STOP_SECONDS) == 1
        said = output.read_text()
        assert f"cannot listen on {HOST}:{port} (" in said
        assert f" and {HOST}:{admin} (" in said
        assert re.search(r"make run HTTP=\S+ ADMIN=\S+ DATA=\S+$", said)
        with demonstration(output, tmp_path / "data", port, free_port()) as process:
            assert process.wait(STOP_SECONDS) == 1
    assert re.search(r"make run HTTP=\S+ DATA=\S+$", output.read_text())
