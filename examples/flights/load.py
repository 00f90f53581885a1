"""Load the flights through the public write path: HTTP batches, a few at a time, with progress and a summary.

Loading is idempotent (every write carries its time), so it may be repeated or interrupted at will; a journal
makes the repetition quick by remembering the parts that are finished. `dataset` makes the writes.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from http import HTTPStatus
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import click
import msgspec
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from examples.flights.dataset import MONTHS, Part, Write, data_directory, parts

BATCH = 500
"""Writes in a request, the most that a sidecar takes."""
CONCURRENCY = 4
ATTEMPTS = 5
_ACCEPTED = frozenset({"written", "ignored_older"})
"""``ignored_older``: somebody wrote something newer since; the row is as it should be."""
_WORTH_REPEATING = frozenset({"failed", "unknown"})

Verdicts = Counter[str]


class Journal:
    """The names of finished parts, a line each, in a file beside the data they are about."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._finished = set(path.read_text().splitlines()) if path.exists() else set()

    def __contains__(self, name: str) -> bool:
        return name in self._finished

    def add(self, name: str) -> None:
        """Remember a part as finished."""
        self._finished.add(name)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as file:
            file.write(f"{name}\n")

    def __repr__(self) -> str:
        return f"<Journal {self._path} {len(self._finished)} parts>"


class Meter(Protocol):
    """Told how many rows of which part the sidecar has answered."""

    def __call__(self, part: Part, rows: int) -> None:
        """Count rows as answered."""


class Loader:
    """Sends parts to one sidecar over a session that somebody else owns."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        *,
        concurrency: int = CONCURRENCY,
        pause_seconds: float = 0.2,
    ) -> None:
        self._session = session
        self._endpoint = f"{url}/v1/features/write"
        self._concurrency = concurrency
        self._pause_seconds = pause_seconds
        self.complaints: list[str] = []
        """The first sentences of the sidecar about rows that were not stored."""

    async def load(self, loads: Sequence[Part], journal: Journal | None, meter: Meter) -> dict[str, Verdicts]:
        """Send every part that the journal does not know; returns verdicts by group."""
        totals: dict[str, Verdicts] = {}
        for part in loads:
            if journal is not None and part.name in journal:
                meter(part, part.size)
                continue
            verdicts = await self._load_part(part, meter)
            for group, counted in verdicts.items():
                totals.setdefault(group, Counter()).update(counted)
            if journal is not None and not failures(verdicts):
                journal.add(part.name)
        return totals

    async def _load_part(self, part: Part, meter: Meter) -> dict[str, Verdicts]:
        verdicts: dict[str, Verdicts] = {}
        room = asyncio.Semaphore(self._concurrency)

        async def send(batch: list[Write]) -> None:
            try:
                for result in await self._answered(batch):
                    verdicts.setdefault(result["group"], Counter())[result["verdict"]] += 1
            finally:
                room.release()
            meter(part, len(batch))

        async with asyncio.TaskGroup() as sending:
            for batch in batches(part.writes()):
                await room.acquire()
                sending.create_task(send(batch))
        return verdicts

    async def _answered(self, batch: list[Write]) -> list[dict[str, Any]]:
        """Send until no row is failed or unknown; after the last attempt those count as they are."""
        settled: list[dict[str, Any]] = []
        for attempt in range(1, ATTEMPTS + 1):
            results = await self._send(batch)
            again = [i for i, result in enumerate(results) if result["verdict"] in _WORTH_REPEATING]
            if attempt == ATTEMPTS:
                again = []
            settled += [result for i, result in enumerate(results) if i not in set(again)]
            if not again:
                break
            batch = [batch[i] for i in again]
            await asyncio.sleep(self._pause_seconds * 2**attempt)
        self._complain(settled)
        return settled

    async def _send(self, batch: list[Write]) -> list[dict[str, Any]]:
        """One request. A lost connection or a refused request makes every row unknown or failed."""
        body = msgspec.json.encode({"writes": batch})
        try:
            async with self._session.post(
                self._endpoint, data=body, headers={"Content-Type": "application/json"}
            ) as response:
                answer = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            return _all(batch, "unknown", f"{type(error).__name__}: {error}")
        if response.status != HTTPStatus.OK:
            return _all(batch, "failed", f"HTTP {response.status}: {answer[:300].decode(errors='replace')}")
        results: list[dict[str, Any]] = msgspec.json.decode(answer)["results"]
        return results

    def _complain(self, results: Iterable[dict[str, Any]]) -> None:
        for result in results:
            if result["verdict"] not in _ACCEPTED and len(self.complaints) < ATTEMPTS:
                self.complaints.append(
                    f"{result['group']} {result['id']}: {result['verdict']} {result.get('message', '')}"
                )

    def __repr__(self) -> str:
        return f"<Loader {self._endpoint} concurrency {self._concurrency}>"


def _all(batch: list[Write], verdict: str, message: str) -> list[dict[str, Any]]:
    return [{"group": w["group"], "id": w["id"], "verdict": verdict, "message": message} for w in batch]


def batches(writes: Iterable[Write]) -> Iterator[list[Write]]:
    """Cut into requests."""
    iterator = iter(writes)
    while batch := list(islice(iterator, BATCH)):
        yield batch


def failures(verdicts: dict[str, Verdicts]) -> int:
    """How many rows are not as they should be."""
    return sum(
        n for counted in verdicts.values() for verdict, n in counted.items() if verdict not in _ACCEPTED
    )


def summary(verdicts: dict[str, Verdicts]) -> Table:
    """Verdicts by group."""
    kinds = sorted({verdict for counted in verdicts.values() for verdict in counted})
    table = Table("group", *kinds, box=None, header_style="bold")
    for kind in table.columns[1:]:
        kind.justify = "right"
    for group, counted in sorted(verdicts.items()):
        table.add_row(group, *(f"{counted[kind]:,}" for kind in kinds))
    return table


async def load(url: str, months: Sequence[int], journal: Journal | None, console: Console) -> int:
    """Load what is not loaded yet, with a progress bar; returns the number of rows that failed."""
    everything = f"all of the months {', '.join(map(str, months))}"
    if journal is not None and everything in journal:
        console.print("The flights are loaded already.")
        return 0
    with console.status("Reading the flights ..."):
        loads = parts(data_directory(), months)
    columns = (
        TextColumn("{task.description:26}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("rows"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("", total=sum(part.size for part in loads))

        def meter(part: Part, rows: int) -> None:
            progress.update(bar, advance=rows, description=part.name)

        async with aiohttp.ClientSession() as session:
            loader = Loader(session, url)
            verdicts = await loader.load(loads, journal, meter)
        progress.update(bar, description="all loaded")
    if verdicts:
        console.print(summary(verdicts))
    for complaint in loader.complaints:
        console.print(complaint, style="red", markup=False)
    failed = failures(verdicts)
    if journal is not None and not failed:
        journal.add(everything)
    return failed


def month_range(text: str) -> list[int]:
    """``11-12``, ``3``, ``all`` or ``none`` (only what is no flight) as months; raises ValueError."""
    if text in {"all", "none"}:
        return list(MONTHS) if text == "all" else []
    first, _, last = text.partition("-")
    months = list(range(int(first), int(last or first) + 1))
    if not months or not set(months) <= set(MONTHS):
        raise ValueError(f"{text!r} are no months of a year; give for example 3, 11-12, all or none")
    return months


@click.command()
@click.option("--url", default="http://127.0.0.1:8470", show_default=True, help="The sidecar's data port.")
@click.option("--months", default="all", show_default=True, help="Which flights: 3, 11-12, all or none.")
@click.option(
    "--journal", type=click.Path(path_type=Path), help="File that remembers the parts already loaded."
)
def main(url: str, months: str, journal: Path | None) -> None:
    """Load the flights of 2013 into a sidecar that serves examples/flights."""
    try:
        chosen = month_range(months)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    failed = asyncio.run(load(url, chosen, Journal(journal) if journal else None, Console()))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
