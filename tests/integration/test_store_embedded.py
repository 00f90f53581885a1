"""The store suite on the embedded store, and what is its own: the file, its lock, removal of what expired."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.integration.store_calls import (
    NOW,
    SECOND,
    a_put,
    a_stored_plan,
    read,
    write,
    write_one,
    written,
)
from tests.integration.store_suite import StoreSuite

from pannier_sidecar.clock import ManualClock
from pannier_sidecar.errors import TierMisconfigured, TierUnavailable
from pannier_sidecar.row import RowKey
from pannier_sidecar.tiers.embedded_file import FILE_NAME
from pannier_sidecar.tiers.l3 import Store
from pannier_sidecar.tiers.l3_embedded import EmbeddedStore


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[EmbeddedStore]:
    async with EmbeddedStore(tmp_path / "data", ManualClock(NOW)) as opened:
        yield opened


class TestEmbeddedStore(StoreSuite):
    """The suite."""


async def test_rows_outlive_the_process(tmp_path: Path) -> None:
    """What was acknowledged is there after a restart."""
    plan = a_stored_plan()
    async with EmbeddedStore(tmp_path) as store:
        row = await written(store, a_put(plan, values={0: b'"x"'}))
    async with EmbeddedStore(tmp_path) as store:
        assert await read(store, plan) == row


async def test_two_tables_do_not_mix(store: Store) -> None:
    """Groups of one name in two tables are two groups."""
    here = a_stored_plan(table="here")
    there = a_stored_plan(table="there")
    await written(store, a_put(here, values={0: b'"x"'}))
    assert await read(store, there) is None


async def test_a_second_owner_is_told_who_the_first_is(tmp_path: Path) -> None:
    """In this process and in another."""
    async with EmbeddedStore(tmp_path):
        with pytest.raises(TierMisconfigured, match="in use by process"):
            await EmbeddedStore(tmp_path).__aenter__()
        code = (
            "import asyncio, sys, pathlib\n"
            "from pannier_sidecar.tiers.l3_embedded import EmbeddedStore\n"
            "asyncio.run(EmbeddedStore(pathlib.Path(sys.argv[1])).__aenter__())\n"
        )
        ended = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", code, str(tmp_path)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 1
        assert "TierMisconfigured" in ended.stderr
        assert "one process owns an embedded store" in ended.stderr
    async with EmbeddedStore(tmp_path):
        pass


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    """And left as it is."""
    (tmp_path / FILE_NAME).write_bytes(b"not a database, but long enough to look at" * 100)
    with pytest.raises(TierMisconfigured, match=r"cannot be opened.*restore or remove it"):
        await EmbeddedStore(tmp_path).__aenter__()
    assert (tmp_path / FILE_NAME).read_bytes().startswith(b"not a database")


async def test_nobody_is_told_to_remove_a_sound_file_for_want_of_room(tmp_path: Path) -> None:
    """A process that may not make a file any longer stands for a disk that is full."""
    plan = a_stored_plan()
    async with EmbeddedStore(tmp_path) as store:
        row = await written(store, a_put(plan, values={0: b'"x"'}))
    code = (
        "import asyncio, pathlib, resource, sys\n"
        "from pannier_sidecar.tiers.l3_embedded import EmbeddedStore\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))\n"
        "asyncio.run(EmbeddedStore(pathlib.Path(sys.argv[1])).__aenter__())\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    ended = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    refusal = ended.stderr.splitlines()[-1]
    assert "TierMisconfigured" in refusal
    assert "is the disk full" in refusal
    assert "remove it" not in refusal
    async with EmbeddedStore(tmp_path) as store:
        assert await read(store, plan) == row


async def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    """A directory given by mistake loses nothing."""
    with sqlite3.connect(tmp_path / FILE_NAME) as other:
        other.execute("CREATE TABLE theirs (x)")
    other.close()
    with pytest.raises(TierMisconfigured, match="none of Pannier's"):
        await EmbeddedStore(tmp_path).__aenter__()


async def test_a_file_of_a_newer_release_is_refused(tmp_path: Path) -> None:
    """An old release does not guess at a newer schema."""
    async with EmbeddedStore(tmp_path):
        pass
    with sqlite3.connect(tmp_path / FILE_NAME) as newer:
        newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(TierMisconfigured, match="schema version 99"):
        await EmbeddedStore(tmp_path).__aenter__()


async def test_a_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """A file where the directory should be."""
    (tmp_path / "file").touch()
    with pytest.raises(TierMisconfigured, match="cannot use"):
        await EmbeddedStore(tmp_path / "file").__aenter__()


async def test_a_file_damaged_while_open_is_an_outage_not_a_missing_row(tmp_path: Path) -> None:
    """Reads answer with the error, writes fail for sure, and nothing is reported missing."""
    plan = a_stored_plan(features={"f": "String"})
    async with EmbeddedStore(tmp_path) as store:
        await write(store, *(a_put(plan, f"{i}", {0: b'"' + b"x" * 2000 + b'"'}) for i in range(500)))
    path = tmp_path / FILE_NAME
    sound = path.read_bytes()
    path.write_bytes(sound[:8192] + b"\xff" * (len(sound) - 8192))
    async with EmbeddedStore(tmp_path) as store:
        keys = [RowKey(plan, f"{i}") for i in range(500)]
        assert all(
            isinstance(row, TierMisconfigured)
            for row in await store.read_records(keys, strong=True, timeout_seconds=1)
        )
        outcome = await write_one(store, a_put(plan, "1", {0: b'"y"'}))
        assert (outcome.verdict, outcome.reason) == ("failed", "TierMisconfigured")
        assert isinstance((await store.check([plan]))[plan.name], (TierMisconfigured, type(None)))


async def test_a_closed_store_is_unavailable(tmp_path: Path) -> None:
    """It does not hang and does not say missing."""
    plan = a_stored_plan()
    async with EmbeddedStore(tmp_path) as store:
        pass
    (row,) = await store.read_records([RowKey(plan, "1")], strong=True, timeout_seconds=1)
    assert isinstance(row, TierUnavailable)
    assert (await write_one(store, a_put(plan, values={0: b'"x"'}))).verdict == "failed"
    with pytest.raises(TierUnavailable):
        await store.erase(plan, "1", timeout_seconds=1, now_us=NOW)


async def test_expired_rows_are_removed_in_small_steps(tmp_path: Path) -> None:
    """The longest expired first, and nothing that is still wanted."""
    clock = ManualClock(NOW)
    plan = a_stored_plan()
    async with EmbeddedStore(tmp_path, clock) as store:
        ends = {f"{i}": NOW // SECOND + 1 + i for i in range(10)}
        await write(store, *(a_put(plan, i, {0: b'"x"'}, expires_at=end) for i, end in ends.items()))
        await written(store, a_put(plan, "stays", {0: b'"x"'}))
        clock.advance(6)
        assert [await store.remove_expired(4), await store.remove_expired(4)] == [4, 2]
        left = [row_id for row_id in (*ends, "stays") if await read(store, plan, row_id)]
        assert left == ["6", "7", "8", "9", "stays"]


async def test_writers_of_one_moment_share_a_commit(store: EmbeddedStore) -> None:
    """A hundred concurrent writes take far fewer transactions."""
    plan = a_stored_plan()
    assert store._writer is not None
    before = store._writer.commits
    await asyncio.gather(*(written(store, a_put(plan, f"{i}", {0: b'"x"'})) for i in range(100)))
    assert store._writer.commits - before < 50


async def test_a_write_out_of_time_before_it_began_has_failed_for_sure(store: EmbeddedStore) -> None:
    """Waiting in the queue is no doubt; only a write under way may be stored."""
    plan = a_stored_plan()
    blocker = sqlite3.connect(store._file.directory / FILE_NAME, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    first = asyncio.create_task(store.write([a_put(plan, "a", {0: b'"x"'})], timeout_seconds=0.2, now_us=NOW))
    await asyncio.sleep(0)
    writer = store._writer
    assert writer is not None
    while writer._jobs.qsize():  # noqa: ASYNC110 (another thread takes it)
        await asyncio.sleep(0.001)
    second = asyncio.create_task(
        store.write([a_put(plan, "b", {0: b'"x"'})], timeout_seconds=0.1, now_us=NOW)
    )
    (begun,), (queued,) = await first, await second
    blocker.execute("ROLLBACK")
    blocker.close()
    assert (begun.verdict, queued.verdict) == ("unknown", "failed")
    assert queued.reason == "TierTimeout"
    await written(store, a_put(plan, "c", {0: b'"x"'}))
    assert await read(store, plan, "b") is None
