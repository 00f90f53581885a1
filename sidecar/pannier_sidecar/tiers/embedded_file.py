"""The embedded store's file: opening, locking and checking it, and rows as SQLite keeps them. Synchronous.

One directory holds ``pannier.db`` (SQLite, write-ahead log) and ``pannier.lock``, whose lock says that a
process owns it. Fragments are stored as they are, by feature id, so a read converts nothing. The choice of
SQLite and the pragmas are argued and measured in ADR 0003. Not here: threads and transactions
(`embedded_writer`), semantics (`l3_embedded`).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec

from pannier_sidecar.errors import TierError, TierMisconfigured, TierUnavailable
from pannier_sidecar.plan import GroupPlan
from pannier_sidecar.row import Fragments, Row

TIER = "l3"
FILE_NAME = "pannier.db"
LOCK_NAME = "pannier.lock"
APPLICATION_ID = 0x504E4E52
SCHEMA_VERSION = 1
"""Stored as SQLite's user_version; a higher one was made by a newer release and is not touched."""

_SCHEMA = (
    """
    CREATE TABLE item (
        pk TEXT NOT NULL, sk TEXT NOT NULL, revision INTEGER NOT NULL, expires_at INTEGER, body BLOB NOT NULL,
        PRIMARY KEY (pk, sk)
    )
    """,
    "CREATE INDEX item_expiry ON item (expires_at) WHERE expires_at IS NOT NULL",
)
_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    # an acknowledged write survives the machine's power, not only the process; group commit pays for it
    "PRAGMA synchronous = FULL",
    "PRAGMA busy_timeout = 2000",
    "PRAGMA cache_size = -65536",
    "PRAGMA wal_autocheckpoint = 4000",
)
_CORRUPT = ("malformed", "not a database", "file is encrypted")


class _Body(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What of a row no query looks at."""

    event_time_us: int
    deleted: bool
    stamps_us: dict[int, int]
    values: Fragments


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Body).decode
StoredRow = tuple[str, int, int | None, bytes]
"""sort key, revision, expires_at, body: the columns of every SELECT here."""


def partition(plan: GroupPlan, row_id: str) -> str:
    """The partition key, below the group's table name: what two tables hold must not meet in one file."""
    return f"{plan.table or ''}/{plan.partition_prefix}{row_id}"


def from_stored(stored: StoredRow) -> Row:
    """Columns -> row."""
    sort_key, revision, expires_at, body = stored
    rest = _decode(body)
    return Row(
        sort_key=sort_key,
        revision=revision,
        event_time_us=rest.event_time_us,
        stamps_us=rest.stamps_us,
        values=rest.values,
        deleted=rest.deleted,
        expires_at=expires_at,
    )


def to_body(row: Row) -> bytes:
    """What of a row goes into the ``body`` column."""
    return _encode(_Body(row.event_time_us, row.deleted, row.stamps_us, row.values))


@contextlib.contextmanager
def translated(doing: str) -> Iterator[None]:
    """SQLite's errors as tier errors: what a person must mend, else what may pass."""
    try:
        yield
    except sqlite3.Error as error:
        text = str(error)
        kind: type[TierError] = TierUnavailable
        if any(sign in text for sign in _CORRUPT):
            kind = TierMisconfigured
        raise kind(TIER, f"the embedded store failed while {doing}: {text}") from error


def _what_to_do(error: sqlite3.Error) -> str:
    """Only of a file that is damaged: on a full disk a sound one would be removed for nothing."""
    if any(sign in str(error) for sign in _CORRUPT):
        return "restore or remove it (it holds the only copy)"
    return "the file may be sound: is the disk full, or the directory not writable?"


class EmbeddedFile:
    """The directory of one store, owned by this process from `open` to `close`."""

    __slots__ = ("_lock", "directory")

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._lock: int | None = None

    def open(self) -> None:
        """Take the lock and make sure of the schema; raises `TierMisconfigured` saying what to do."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._lock = self._locked()
        except OSError as error:
            raise TierMisconfigured(
                TIER, f"cannot use {self.directory} for the embedded store: {error.strerror}"
            ) from error
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    def _locked(self) -> int:
        path = self.directory / LOCK_NAME
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise TierMisconfigured(
                TIER, f"{self.directory} is in use by process {owner}; one process owns an embedded store"
            ) from error
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        return descriptor

    def _prepare(self) -> None:
        path = self.directory / FILE_NAME
        try:
            with contextlib.closing(self.connect()) as connection:
                (application,) = connection.execute("PRAGMA application_id").fetchone()
                (version,) = connection.execute("PRAGMA user_version").fetchone()
                (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
                if tables == 0 and version == 0:
                    self._create(connection)
                elif application != APPLICATION_ID:
                    raise TierMisconfigured(TIER, f"{path} is a database, but none of Pannier's")
                elif version > SCHEMA_VERSION:
                    raise TierMisconfigured(
                        TIER, f"{path} has schema version {version}; this release knows {SCHEMA_VERSION}"
                    )
        except sqlite3.Error as error:
            message = f"{path} cannot be opened: {error}; {_what_to_do(error)}"
            raise TierMisconfigured(TIER, message) from error

    @staticmethod
    def _create(connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA:
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")

    def connect(self) -> sqlite3.Connection:
        """A connection in autocommit mode; each belongs to one thread at a time."""
        connection = sqlite3.connect(
            self.directory / FILE_NAME, isolation_level=None, check_same_thread=False, cached_statements=64
        )
        try:
            for pragma in _PRAGMAS:
                connection.execute(pragma)
        except BaseException:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        """Give the directory back."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __repr__(self) -> str:
        state = "closed" if self._lock is None else "open"
        return f"<EmbeddedFile {self.directory / FILE_NAME} {state}>"
