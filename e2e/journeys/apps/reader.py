"""An app that reads through its sidecar without pause, and tells a recorder how it fared.

One row, READS_PER_SECOND (default 50) times a second over one connection, until SIGTERM. A report has counts
since the start, and what was worst since the report before.
"""

import http.client
import json
import os
import signal
import threading
import time
from typing import Any

RATE = float(os.environ.get("READS_PER_SECOND", "50"))
REPORT_SECONDS = 0.5
BODY = json.dumps({"reads": [{"group": "user_facts", "ids": ["u1"]}], "explain": True})
ended = threading.Event()


class Reader:
    """Reads, and remembers how that went."""

    def __init__(self) -> None:
        self.total = {"reads": 0, "failed": 0, "unknown": 0, "missing": 0}
        self.notes: list[str] = []
        self._connection: http.client.HTTPConnection | None = None
        self._begin()

    def _begin(self) -> None:
        self.oldest_seconds, self.slowest_ms = 0.0, 0.0
        self.sources: dict[str, int] = {}

    def read(self) -> None:
        """Read the row once."""
        began = time.monotonic()
        self.total["reads"] += 1
        try:
            self._count(self._asked())
        except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
            self.total["failed"] += 1
            self._note(f"{type(error).__name__}: {error}")
            self._connection = None
        self.slowest_ms = max(self.slowest_ms, (time.monotonic() - began) * 1_000)

    def _asked(self) -> dict[str, Any]:
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", 8470, timeout=5)
        self._connection.request("POST", "/v1/features/read", BODY, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != http.HTTPStatus.OK:
            raise ValueError(f"{answer.status} {body[:200]!r}")
        row: dict[str, Any] = json.loads(body)["results"][0]["rows"][0]
        return row

    def _count(self, row: dict[str, Any]) -> None:
        if row["status"] in ("unknown", "missing"):
            self.total[row["status"]] += 1
            self._note(f"{row['status']}: {row.get('reason')} {row.get('message')}")
        self.oldest_seconds = max(self.oldest_seconds, row.get("age_seconds") or 0.0)
        source = row.get("source", "none")
        self.sources[source] = self.sources.get(source, 0) + 1

    def _note(self, what: str) -> None:
        self.notes = [*self.notes, f"{time.time():.3f} {what}"][-5:]

    def report(self, *, last: bool = False) -> None:
        """Tell the recorder, and begin anew with what was worst."""
        told = {
            "pod": os.environ["HOSTNAME"],
            "at": time.time(),
            "last": last,
            **self.total,
            "oldest_seconds": self.oldest_seconds,
            "slowest_ms": round(self.slowest_ms, 1),
            "sources": self.sources,
            "notes": self.notes,
        }
        self._begin()
        connection = http.client.HTTPConnection("recorder", 8080, timeout=5)
        try:
            connection.request("POST", "/", json.dumps(told))
            connection.getresponse().read()
        except OSError as error:
            print(f"no recorder: {error}", flush=True)  # the counts go on: the next report has them
        finally:
            connection.close()


signal.signal(signal.SIGTERM, lambda *_: ended.set())
reader = Reader()
next_report = time.monotonic() + REPORT_SECONDS
while not ended.wait(1 / RATE):
    reader.read()
    if time.monotonic() >= next_report:
        reader.report()
        next_report = time.monotonic() + REPORT_SECONDS
reader.report(last=True)
