"""What logs look like, and what never stands in them."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from pannier_cli import logs


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_lines_where_no_terminal_listens() -> None:
    """In a container every record is one JSON object with event, level, time and logger."""
    stream = io.StringIO()
    logs.configure("auto", "info", stream)
    structlog.stdlib.get_logger("pannier_sidecar.x").warning("circuit_open", tier="l2")
    (record,) = lines(stream)
    assert record["event"] == "circuit_open"
    assert record["tier"] == "l2"
    assert record["level"] == "warning"
    assert record["logger"] == "pannier_sidecar.x"
    assert record["timestamp"].endswith("Z")


def test_columns_where_a_person_reads() -> None:
    """The console format is no JSON."""
    stream = io.StringIO()
    logs.configure("console", "info", stream)
    structlog.stdlib.get_logger("x").info("started", port=1)
    assert "started" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


def test_a_terminal_gets_the_console_format() -> None:
    """The automatic format asks the stream."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    logs.configure("auto", "info", stream)
    structlog.stdlib.get_logger("x").info("started")
    assert not stream.getvalue().startswith("{")


def test_records_of_libraries_have_the_same_format() -> None:
    """The standard library's records are JSON too, with their traceback in one line."""
    stream = io.StringIO()
    logs.configure("json", "info", stream)
    logging.getLogger("some.library").error("it failed", exc_info=RuntimeError("broken"))
    (record,) = lines(stream)
    assert record["event"] == "it failed"
    assert "RuntimeError: broken" in record["exception"]


def test_the_level_filters_and_chatter_is_silenced() -> None:
    """Below the level nothing is logged, and the AWS client's info never is."""
    stream = io.StringIO()
    logs.configure("json", "info", stream)
    structlog.stdlib.get_logger("x").debug("detail")
    logging.getLogger("botocore.credentials").info("Found credentials in environment variables.")
    assert lines(stream) == []
