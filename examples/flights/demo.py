"""`make run`: a sidecar on the embedded store with the flights in it, a few answers, and then it stays up.

The sidecar is a child process, ``pannier serve``, as anyone would start it; the data goes in over HTTP.
Ctrl-C or SIGTERM ends both. Nothing here knows the inside of the sidecar.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import click
import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from examples.flights.load import Journal, load, month_range
from examples.flights.questions import QUESTIONS, Question

SPECS = Path(__file__).parent
SOME_MONTHS = "10-12"
"""What loads in about half a minute on two cores."""
START_SECONDS = 30.0
STOP_SECONDS = 15.0
POLL_SECONDS = 0.1
LOG_TAIL_LINES = 20
_OTHER_ADDRESS = {"HTTP": "127.0.0.1:9470", "ADMIN": "127.0.0.1:9471"}


class DemoFailed(click.ClickException):
    """The demonstration cannot go on; the message says what to do."""


def address(text: str) -> tuple[str, int]:
    """``host:port`` taken apart."""
    host, separator, port = text.rpartition(":")
    if not separator or not port.isdigit():
        raise click.UsageError(f"{text!r} is not HOST:PORT, such as 127.0.0.1:8470")
    return host, int(port)


def check_free(wanted: dict[str, str]) -> None:
    """Refuse addresses that other programs listen on, all at once, before anything is started."""
    taken = {variable: why for variable, where in wanted.items() if (why := _why_taken(where))}
    if taken:
        places = " and ".join(f"{wanted[variable]} ({why})" for variable, why in taken.items())
        others = " ".join(f"{variable}={_OTHER_ADDRESS[variable]}" for variable in taken)
        raise DemoFailed(
            f"cannot listen on {places}: is a sidecar already running? "
            "Stop it, or choose other ports and another folder for the data: "
            f"make run {others} DATA=.data/other"
        )


def _why_taken(where: str) -> str | None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address(where))
        except OSError as error:
            return error.strerror or str(error)
    return None


@contextlib.contextmanager
def sidecar(http_address: str, admin_address: str, data: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The sidecar as a child process with its log in a file; stopped in the end, whatever happens."""
    data.mkdir(parents=True, exist_ok=True)
    options = {
        "specs": SPECS,
        "store": "embedded",
        "data-dir": data,
        "http": http_address,
        "admin": admin_address,
    }
    flags = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PANNIER_"))
    }
    with (data / "sidecar.log").open("ab") as log:  # of a run that is up already the log must stay
        process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "pannier_cli", "serve", *flags],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
        )
        try:
            yield process
        finally:
            stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the sidecar to drain and end; insist if it does not."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_ready(process: subprocess.Popen[bytes], admin_address: str, data: Path) -> None:
    """Poll /readyz until the sidecar takes requests."""
    give_up_at = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up_at:
        if process.poll() is not None:
            raise DemoFailed(f"the sidecar ended with exit code {process.returncode}:\n{log_tail(data)}")
        with contextlib.suppress(OSError, http.client.HTTPException):
            if request(admin_address, "GET", "/readyz")[0] == http.HTTPStatus.OK:
                return
        time.sleep(POLL_SECONDS)
    raise DemoFailed(f"the sidecar was not ready within {START_SECONDS:.0f} s:\n{log_tail(data)}")


def log_tail(data: Path) -> str:
    """The end of the sidecar's log."""
    return "\n".join((data / "sidecar.log").read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])


def request(where: str, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
    """One HTTP request; returns status and body."""
    connection = http.client.HTTPConnection(*address(where), timeout=START_SECONDS)
    try:
        content = None if body is None else msgspec.json.encode(body)
        connection.request(method, path, content, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def show_answers(http_address: str, console: Console) -> None:
    """Ask each question twice: the second time the sidecar's memory may answer."""
    table = Table("question", "answer", "first from", "then from", box=box.SIMPLE_HEAD, pad_edge=False)
    for question in QUESTIONS:
        (row, first), (_, then) = ask(http_address, question.read), ask(http_address, question.read)
        table.add_row(question.text, said(row, question), first, then)
    console.print(table)
    console.print(
        "l1 is the sidecar's memory, l3 the store, l2 would be Redis. The manifests in examples/flights say "
        "which group may be cached where. Times are of a whole request on a new connection."
    )


def ask(http_address: str, read: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The only row of a read; which tier answered, and how long the request took."""
    started = time.perf_counter()
    status, body = request(http_address, "POST", "/v1/features/read", {"reads": [read], "explain": True})
    milliseconds = (time.perf_counter() - started) * 1000
    if status != http.HTTPStatus.OK:
        raise DemoFailed(f"the sidecar refused {read}: {body.decode(errors='replace')}")
    row: dict[str, Any] = msgspec.json.decode(body)["results"][0]["rows"][0]
    return row, f"{row['source']} {milliseconds:5.1f} ms"


def said(row: dict[str, Any], question: Question) -> str:
    """A row in words; what is not found says so by its status."""
    if row["status"] != "found":
        return f"[yellow]{row['status']}[/]"
    records = row.get("records", [row])
    return "\n".join(question.say(record["features"]) for record in records) or "nothing in this range"


def show_commands(http_address: str, admin_address: str, console: Console) -> None:
    """What to try next."""
    row = f"http://{http_address}/v1/groups/recent_departures_of_airport/rows/JFK?limit=2"
    body = '{"reads": [{"group": "plane_facts", "ids": ["N328AA", "N0"]}], "explain": true}'
    console.print("\n[bold]The sidecar is up.[/] Try, in another terminal:\n")
    for command in (
        f"curl -s '{row}'",
        f"curl -s http://{http_address}/v1/features/read -d '{body}'",
        f"curl -s http://{admin_address}/metrics",
        f".venv/bin/pannier get recent_flights_of_plane N328AA --limit 5 --url http://{http_address}",
        f".venv/bin/pannier groups --url http://{http_address}",
    ):
        console.print(f"  {command}", soft_wrap=True, markup=False, highlight=False)
    console.print("\nCtrl-C stops it; the data stays in .data, and the next `make run` is quick.")


def raise_interrupt(signum: int, frame: FrameType | None) -> None:
    """Let a signal end the demonstration as Ctrl-C does."""
    del signum, frame
    raise KeyboardInterrupt


def demonstrate(
    http_address: str, admin_address: str, months: list[int], data: Path, console: Console
) -> None:
    """Start, load, show, and stay up until the sidecar or the user ends it."""
    with sidecar(http_address, admin_address, data) as process:
        wait_until_ready(process, admin_address, data)
        console.print(f"Sidecar on http://{http_address}, embedded store in {data}, no Redis.")
        failed = asyncio.run(load(f"http://{http_address}", months, Journal(data / "loaded.txt"), console))
        if failed:
            raise DemoFailed(f"{failed} rows were not stored; the sidecar's log says why:\n{log_tail(data)}")
        show_answers(http_address, console)
        show_commands(http_address, admin_address, console)
        process.wait()
        raise DemoFailed(f"the sidecar ended with exit code {process.returncode}:\n{log_tail(data)}")


@click.command()
@click.option("--http", "http_address", default="127.0.0.1:8470", show_default=True, help="Data port.")
@click.option("--admin", "admin_address", default="127.0.0.1:8471", show_default=True, help="Admin port.")
@click.option("--flights", default="some", show_default=True, help="some, all, none, or months such as 5-8.")
@click.option(
    "--data", default=Path(".data/flights"), type=click.Path(path_type=Path), help="Where rows are kept."
)
def main(http_address: str, admin_address: str, flights: str, data: Path) -> None:
    """Serve the example groups with real flights in them."""
    try:
        months = month_range(SOME_MONTHS if flights == "some" else flights)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    console = Console(highlight=False)
    # what a shell starts in the background is deaf to SIGINT
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, raise_interrupt)
    check_free({"HTTP": http_address, "ADMIN": admin_address})
    if flights == "some":
        console.print(f"Loading months {SOME_MONTHS} of 2013; `make run FLIGHTS=all` loads the whole year.")
    try:
        demonstrate(http_address, admin_address, months, data, console)
    except KeyboardInterrupt:
        console.print("\nStopped.")


if __name__ == "__main__":
    main()
