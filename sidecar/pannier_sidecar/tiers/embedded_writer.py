"""One thread that writes: jobs of concurrent requests share a transaction and its one sync (group commit).

Flow: `submit` queues a job from the event loop -> the thread takes all that wait -> one transaction, one
savepoint per job -> COMMIT -> the loop hears of all results at once. Nothing is answered before COMMIT
returned. Not here: what a job does to rows (`l3_embedded`).
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable
from typing import Any

from pannier_sidecar.errors import TierError, TierTimeout, TierUnavailable
from pannier_sidecar.tiers.embedded_file import TIER, translated

Work = Callable[[sqlite3.Connection], Any]
_JOBS_PER_COMMIT = 64
"""Bounds how long the first job of a transaction waits for the last one."""


class Job:
    """Work to be done inside a transaction, and its answer."""

    __slots__ = ("begun", "done", "withdrawn", "work")

    def __init__(self, work: Work, done: asyncio.Future[Any]) -> None:
        self.work = work
        self.done = done
        self.begun = False
        self.withdrawn = False

    def __repr__(self) -> str:
        return f"<Job {'begun' if self.begun else 'waiting'}{', withdrawn' if self.withdrawn else ''}>"


class GroupCommitWriter:
    """The writer thread of one connection, which it owns from `start` to `stop`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="pannier-embedded-writer", daemon=True)
        self._taking = threading.Lock()
        self._stopped = False
        self.commits = 0

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    async def stop(self) -> None:
        """Finish what is queued, then end the thread and close the connection."""
        self._stopped = True
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)
        self._connection.close()

    def submit(self, work: Work) -> Job:
        """Queue a job; await it with `result`."""
        if self._stopped:
            raise TierUnavailable(TIER, "the embedded store is closed")
        job = Job(work, asyncio.get_running_loop().create_future())
        self._jobs.put(job)
        return job

    async def result(self, job: Job, timeout_seconds: float) -> Any:
        """The job's answer, once on disk. After `TierTimeout`, ``job.begun`` tells if it may be stored."""
        try:
            async with asyncio.timeout(timeout_seconds):
                return await asyncio.shield(job.done)
        except TimeoutError as error:
            self._withdraw(job)
            raise TierTimeout(TIER, f"the embedded store did not answer in {timeout_seconds:g} s") from error
        except asyncio.CancelledError:
            self._withdraw(job)
            raise

    def _withdraw(self, job: Job) -> None:
        with self._taking:
            job.withdrawn = not job.begun
        if not job.done.done():
            job.done.add_done_callback(_retrieve)

    def _run(self) -> None:
        while (jobs := self._waiting()) is not None:
            if jobs:
                self._commit(jobs)

    def _waiting(self) -> list[Job] | None:
        """All jobs that wait, at least one; None once the queue ended."""
        taken: list[Job] = []
        entry = self._jobs.get()
        while entry is not None:
            with self._taking:
                if not entry.withdrawn:
                    entry.begun = True
                    taken.append(entry)
            if len(taken) >= _JOBS_PER_COMMIT:
                return taken
            try:
                entry = self._jobs.get_nowait()
            except queue.Empty:
                return taken
        if taken:
            self._jobs.put(None)
            return taken
        return None

    def _commit(self, jobs: list[Job]) -> None:
        try:
            with translated("writing"):
                answers = self._transact(jobs)
        except TierError as error:
            answers = [error] * len(jobs)
        self.commits += 1
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Job, Any]]] = {}
        for job, answer in zip(jobs, answers, strict=True):
            by_loop.setdefault(job.done.get_loop(), []).append((job, answer))
        for loop, answered in by_loop.items():
            # a loop that ended has nobody left to tell
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(_deliver, answered)

    def _transact(self, jobs: list[Job]) -> list[Any]:
        connection = self._connection
        answers: list[Any] = []
        connection.execute("BEGIN IMMEDIATE")
        try:
            for job in jobs:
                connection.execute("SAVEPOINT job")
                try:
                    answers.append(job.work(connection))
                except sqlite3.Error:
                    raise
                except Exception as error:  # noqa: BLE001 (one job's fault must not undo its neighbours)
                    connection.execute("ROLLBACK TO job")
                    answers.append(error)
                connection.execute("RELEASE job")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return answers

    def __repr__(self) -> str:
        state = "stopped" if self._stopped else "running"
        return f"<GroupCommitWriter {state}, {self._jobs.qsize()} waiting, {self.commits} commits>"


def _deliver(answered: list[tuple[Job, Any]]) -> None:
    for job, answer in answered:
        if job.done.done():
            continue
        if isinstance(answer, Exception):
            job.done.set_exception(answer)
        else:
            job.done.set_result(answer)


def _retrieve(done: asyncio.Future[Any]) -> None:
    """Look at the result nobody awaits any more, so that asyncio does not report its error as lost."""
    if not done.cancelled():
        done.exception()
