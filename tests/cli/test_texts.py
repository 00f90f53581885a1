"""What the command line makes of text, and of answers: pure parts."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from rich.console import Console

from pannier_cli import verdict_tables
from pannier_cli.client import Endpoint, problem_sentence
from pannier_cli.commands.get import exit_code, point_in_time, read_request
from pannier_cli.commands.status import size
from pannier_cli.excerpts import excerpt
from pannier_cli.exit_codes import ExitCode
from pannier_cli.failures import CommandFailed, did_you_mean
from pannier_cli.fitting_tables import FittingTable
from pannier_cli.json_lines import MAX_BYTES, MAX_WRITES, batches, writes_of_lines
from pannier_cli.row_tables import age, cell, instant, rows_of_records, rows_of_timelines
from pannier_cli.typed_text import typed_value


@pytest.mark.parametrize(
    ("text", "feature_type", "value"),
    [
        ("3", "Int64", 3),
        ("3", "String", "3"),
        ('"3"', "String", "3"),
        ("bike", "String", "bike"),
        ("9223372036854775807", "Int64", 9223372036854775807),
        ("true", "Bool", True),
        ("true", "Int64", "true"),
        ("1", "Bool", "1"),
        ("1.5", "Float64", 1.5),
        ("3", "Float64", 3),
        ("1.5", "Int64", "1.5"),
        ("null", "String", None),
        ('"null"', "String", "null"),
        ('["a","b"]', "Set", ["a", "b"]),
        ("a,b", "Set", "a,b"),
        ('{"a":1}', "Map", {"a": 1}),
        ("[0.5,1]", "Vector", [0.5, 1]),
        ("2013-01-01T05:00:00Z", "Timestamp", "2013-01-01T05:00:00Z"),
        ("[1,{}]", "Json", [1, {}]),
        ("{broken", "Json", "{broken"),
        ("7", None, 7),
    ],
)
def test_text_becomes_what_the_declared_type_asks_for(
    text: str, feature_type: str | None, value: object
) -> None:
    """A value is JSON where that fits the feature's type, else the string as typed."""
    taken = typed_value(text, feature_type)
    assert taken == value
    assert type(taken) is type(value)


def test_caret_stands_under_the_value_of_the_field() -> None:
    """The excerpt points at the value that is wrong, also inside a flow mapping."""
    lines = ["spec:", "  features:", "  - {id: 0, name: score, type: Flot64}"]
    assert excerpt(lines, 3, "spec.features[0].type") == [
        "    3 |   - {id: 0, name: score, type: Flot64}",
        "      | " + " " * 31 + "^^^^^^",
    ]


@pytest.mark.parametrize(
    ("text", "path", "marked"),
    [
        ("  key:", "spec.key", "key:"),
        ("  groupName: a#b  # why", "spec.groupName", "a#b"),
        ('  "groupName": "x"', "spec.groupName", '"x"'),
        ("  storage: {}", "spec.storage.mode", "storage: {}"),
        ("  - {id: 0}", "spec.features[0].name", "- {id: 0}"),
        ("  nickname: a", "spec.name", "nickname: a"),
    ],
)
def test_caret_falls_back_to_the_name_and_then_to_the_line(text: str, path: str, marked: str) -> None:
    """Where the field has no value on the line its name is marked, where it is not there the whole text."""
    _, carets = excerpt([text], 1, path)
    start = carets.index("^") - len("    1 | ")
    assert text[start : start + carets.count("^")] == marked


def test_an_excerpt_is_one_line_of_a_terminal_and_the_caret_stands_where_it_should() -> None:
    """A line of megabytes is cut; a tab takes one column, whatever the terminal makes of tabs."""
    shown, caret = excerpt(["description: " + "x" * 1_000_000], 1, "description")
    assert len(shown) < 300
    assert shown.endswith("…")
    assert len(caret) <= len(shown)
    shown, caret = excerpt(["\ta: b"], 1, "a")
    assert shown.index("b") == caret.index("^")


def test_no_excerpt_of_a_line_that_is_not_there() -> None:
    """Line 0 stands for the file as a whole; an empty line gets one caret."""
    assert excerpt(["a"], 0, "spec") == []
    assert excerpt([""], 1, "") == ["    1 | ", "      | ^"]


def test_lines_become_batches_within_the_limits_of_a_request() -> None:
    """Neither more than 500 writes nor more than half of the body limit go into one request."""
    small = [f'{{"id": "{n}", "features": {{}}}}' for n in range(MAX_WRITES + 1)]
    cut = list(batches(writes_of_lines(small, "g")))
    assert [len(batch) for batch in cut] == [MAX_WRITES, 1]
    assert cut[0][0] == {"id": "0", "features": {}, "group": "g"}
    large = ['{"id": "a", "features": {"x": "%s"}}' % ("x" * (MAX_BYTES // 2))] * 3
    assert [len(batch) for batch in batches(writes_of_lines(large, "g"))] == [1, 1, 1]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "line 2 is not JSON"),
        ("[]", "line 2 is not a JSON object"),
        ('{"group": "h"}', "not 'g'"),
        (b'{"id": "\xff"}', "line 2 is not JSON"),
        ('{"features": ' + "[" * 10_000 + "]" * 10_000 + "}", "line 2 nests too deeply"),
    ],
    ids=["truncated", "array", "group", "no text", "deep"],
)
def test_a_bad_line_is_named_by_its_number(line: str | bytes, says: str) -> None:
    """Bulk input that is not a write says which line it is."""
    with pytest.raises(CommandFailed, match=says):
        list(writes_of_lines(['{"id": "1"}', line], "g"))


def test_a_byte_order_mark_does_no_harm() -> None:
    """Some editors put one before the first line."""
    ((write, _),) = writes_of_lines([b'\xef\xbb\xbf{"id": "1"}\n'], "g")
    assert write == {"id": "1", "group": "g"}


@pytest.mark.parametrize("text", ["\x1b[31mred", "\x9b31mred", "bell\a", "two\nlines"])
def test_what_is_stored_does_not_steer_the_terminal(text: str) -> None:
    """Control characters of values, ids and verdicts are shown, not obeyed."""
    found = rows_of_records([{"id": text, "status": "found", "features": {"city": text}}])
    shown = printed(
        found, verdict_tables.verdict_table([{"id": text, "verdict": "invalid", "message": text}])
    )
    assert shown.count(repr(text)[1:-1]) == 4
    assert text not in shown


def test_a_near_name_is_suggested() -> None:
    """A misspelt name gets the nearest known ones; far off ones the list, if it is short."""
    assert did_you_mean("user_actvity", ["user_activity", "weather"]) == "Did you mean 'user_activity'?"
    assert did_you_mean("zzz", ["a", "b"]) == "Known here: a, b."
    assert did_you_mean("zzz", []) == ""
    assert did_you_mean("zzz", [f"group{n}" for n in range(50)]) == ""


def test_options_that_were_not_given_are_not_sent() -> None:
    """A read carries what was asked for and nothing else; integers of the unit are numbers."""
    assert read_request("g", ("1",)) == {"group": "g", "ids": ["1"]}
    asked = read_request("g", ("1", "2"), features="a, b", limit=3, since="-7d", until="987654321")
    assert asked["features"] == ["a", "b"]
    assert (asked["limit"], asked["since"], asked["until"]) == (3, "-7d", 987654321)
    assert point_in_time("2013-01-01T00:00:00Z") == "2013-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("statuses", "code"),
    [
        (["found"], ExitCode.OK),
        (["found", "missing"], ExitCode.MISSING),
        (["missing", "unknown"], ExitCode.UNKNOWN),
    ],
)
def test_exit_code_of_a_read_says_whether_rows_were_there(statuses: list[str], code: ExitCode) -> None:
    """Missing and unknown are different exit codes; unknown outranks missing."""
    assert exit_code([{"status": status} for status in statuses]) is code


def test_exit_code_of_writes_is_ok_only_where_all_were_written() -> None:
    """Anything that was not written fails the command; what may be stored is told apart."""
    assert verdict_tables.exit_code(["written"]) is ExitCode.OK
    assert verdict_tables.exit_code(["written", "ignored_older"]) is ExitCode.REFUSED
    assert verdict_tables.exit_code(["written", "invalid", "unknown"]) is ExitCode.UNKNOWN


def test_a_verdict_tells_why() -> None:
    """Reason, path, ignored features and replacement all reach the table."""
    assert verdict_tables.reason({"verdict": "written"}) == ""
    told = verdict_tables.reason(
        {"path": "features.x", "message": "is no number", "ignored_features": ["y"], "replaced": True}
    )
    assert told == "features.x: is no number; newer already: y; replaced another record of the same instant"
    assert verdict_tables.summary(Counter({"invalid": 1, "written": 2000})) == "2,000 written, 1 invalid"
    assert verdict_tables.summary(Counter()) == "nothing to write"


def test_a_problem_becomes_one_line_per_fault() -> None:
    """Every fault of a problem document is told, with its path."""
    problem = {"detail": "x", "errors": [{"path": "reads[0].limit", "message": "too high"}, {"message": "y"}]}
    assert problem_sentence(problem) == "reads[0].limit: too high\n  y"
    assert problem_sentence({"title": "HTTP 500"}) == "HTTP 500"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0.0021, "2.1 ms"),
        (3.14159, "3.14 s"),
        (600, "10 min"),
        (10_000, "2.78 h"),
        (1e6, "11.6 d"),
    ],
)
def test_ages_have_a_unit_that_fits(seconds: float | None, text: str) -> None:
    """From milliseconds to days."""
    assert age(seconds) == text


def test_timestamps_are_shown_as_instants_of_the_groups_unit() -> None:
    """987654321 seconds is a spring day of 2001; what no calendar holds is left blank."""
    assert instant(987654321, "Seconds") == "2001-04-19T04:25:21Z"
    assert instant(987654321000, "Milliseconds") == "2001-04-19T04:25:21Z"
    assert instant(10**18, "Seconds") == ""
    assert instant(1, None) == ""


def printed(*blocks: object, width: int = 200) -> str:
    """Print without colours, by default on a wide console."""
    out = Console(width=width, color_system=None)
    with out.capture() as capture:
        for block in blocks:
            out.print(block, soft_wrap=True)
    return capture.get()


@pytest.mark.parametrize("width", [20, 61, 62, 80, 100, 120])
def test_no_name_is_cut_or_split_whatever_the_width(width: int) -> None:
    """A table that does not fit becomes a block per row; a column that is empty everywhere is left out."""
    names = ["recent_user_clicked_fleaMarketArticles", "weather"]
    table = FittingTable("group", "kind", "note", "empty", prose=("note",))
    for name in names:
        table.add_row(name, "timeline", "a sentence of many words that may be wrapped between them", "")
    text = printed(table, width=width)
    lines = text.splitlines()
    assert all(name in text for name in names)
    assert "empty" not in text
    needed = len(names[0]) + len("timeline") + 28 + 2 * 2
    if width >= needed:
        assert lines[0].split() == ["group", "kind", "note"]
        assert max(map(len, lines)) <= width
    else:
        assert [line.split()[:2] for line in lines[:2]] == [["group", names[0]], ["kind", "timeline"]]


@pytest.mark.parametrize("width", range(20, 70, 7))
def test_a_name_within_a_sentence_is_not_split_either(width: int) -> None:
    """A sentence wraps between words; where its longest word has no room there are no columns."""
    path = "writes[0].features.a_rather_long_name"
    result = {"id": "1", "verdict": "invalid", "path": path, "message": "is no number"}
    assert path in printed(verdict_tables.verdict_table([result]), width=width)


def test_a_table_keeps_its_form_up_to_the_last_column() -> None:
    """It takes the width it needs, not a column more."""
    table = FittingTable("a", "b")
    table.add_row("1234", "5678")
    assert printed(table, width=10).splitlines() == ["a     b   ", "1234  5678"]
    assert printed(table, width=9).splitlines() == ["a  1234", "b  5678"]


@pytest.mark.parametrize("width", [30, 80, 200])
def test_ids_features_and_times_stay_whole_on_a_narrow_terminal(width: int) -> None:
    """Rows of records and timelines are laid out below each other where they do not fit."""
    row_id = "user:0123456789012345678901234567890123456789"
    features = {"a_rather_long_name_of_a_feature": "x" * 60, "another_name_of_a_feature": 1}
    rows: list[dict[str, Any]] = [{"id": row_id, "status": "found", "features": features}] * 2
    timeline = [{"id": row_id, "status": "found", "records": [{"timestamp": 1, "features": features}]}]
    text = printed(rows_of_records(rows), *rows_of_timelines(timeline, "Seconds"), width=width)
    assert text.count(row_id) == 3
    assert text.count("x" * 60) == 3
    assert "1970-01-01T00:00:01Z" in text
    assert all(name in text for name in features)


def test_an_unknown_row_says_why() -> None:
    """The reason and the message of the answer are shown, whatever the layout."""
    found = {"id": "1", "status": "found", "features": {"a": 1}}
    unknown = {"id": "2", "status": "unknown", "reason": "TierTimeout", "message": "l3 gave no answer"}
    timeline = [{**unknown, "records": []}]
    for text in (
        printed(rows_of_records([unknown])),
        printed(rows_of_records([found, unknown])),
        printed(rows_of_records([found, unknown]), width=20),
        printed(*rows_of_timelines(timeline, "Seconds")),
    ):
        assert "TierTimeout: l3 gave no answer" in " ".join(text.split())


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "null"),
        ("null", '"null"'),
        ("", '""'),
        ("-", '"-"'),
        ('"null"', r'"\"null\""'),
        ("3", "3"),
        (3, "3"),
        (["null", None], '["null",null]'),
    ],
)
def test_null_is_told_from_the_text_null(value: object, shown: str) -> None:
    """A string is quoted only where it would read as something else."""
    assert printed(cell(value)).rstrip("\n") == shown


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1,023 B"), (1536, "1.5 KiB"), (256 * 2**20, "256 MiB"), (3 * 2**30, "3 GiB")],
)
def test_sizes_have_a_unit_that_fits(count: int, text: str) -> None:
    """From bytes to GiB."""
    assert size(count) == text


def test_records_of_several_ids_share_one_table() -> None:
    """Ids below each other; absent, null and default are told apart."""
    rows: list[dict[str, Any]] = [
        {"id": "1", "status": "found", "source": "l1", "age_seconds": 2.0, "features": {"a": 1, "b": None}},
        {"id": "2", "status": "missing"},
    ]
    text = printed(rows_of_records(rows))
    assert text.splitlines()[0].split() == ["id", "status", "source", "age", "a", "b"]
    assert text.splitlines()[1].split() == ["1", "found", "l1", "2", "s", "1", "null"]
    assert text.splitlines()[2].split() == ["2", "missing", "-", "-", "-"]


def test_one_record_shows_its_features_below_each_other() -> None:
    """A single row is laid out vertically; a served default says so."""
    row = {"id": "[x]", "status": "found", "stale": True, "features": {"a": "v"}, "defaulted": ["a"]}
    text = printed(rows_of_records([row]))
    assert "[x]" in text
    assert "found stale" in text
    assert "v (default)" in text


def test_timelines_show_records_as_they_come() -> None:
    """A heading per id, records in the order of the answer, and a note where older ones exist."""
    rows: list[dict[str, Any]] = [
        {
            "id": "7",
            "status": "found",
            "source": "l2",
            "age_seconds": 0.01,
            "more": True,
            "records": [{"timestamp": 2, "features": {"a": "x"}}, {"timestamp": 1, "features": {"b": "y"}}],
        },
        {"id": "8", "status": "missing", "records": []},
    ]
    lines = printed(*rows_of_timelines(rows, "Seconds")).splitlines()
    assert lines[0].strip() == "7  found  l2  10 ms  2 records"
    assert lines[2].split() == ["2", "1970-01-01T00:00:02Z", "x", "-"]
    assert lines[3].split() == ["1", "1970-01-01T00:00:01Z", "-", "y"]
    assert lines[4].startswith("older records in range exist")
    assert lines[5].strip() == "8  missing"


@pytest.mark.parametrize(
    "url", ["ftp://x", "http://127.0.0.1:99999", "http://", "http://a/path", "http://[::1", "http://a b:80"]
)
def test_an_address_that_is_none_is_a_usage_error(url: str) -> None:
    """What cannot be the address of a sidecar exits with 2 before anything is sent."""
    with pytest.raises(CommandFailed) as failed:
        Endpoint(url).connect()
    assert failed.value.exit_code == ExitCode.USAGE
