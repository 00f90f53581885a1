"""The commands against a real sidecar on the embedded store, as a person would use them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pannier_cli.exit_codes import ExitCode
from pannier_cli.main import pannier

SPECS = {
    "profile.yaml": """\
apiVersion: pannier.dev/v1alpha1
kind: FeatureGroup
metadata: {name: user-profile}
spec:
  groupName: user_profile
  key: {entity: user}
  features:
  - {id: 0, name: city, type: String}
  - {id: 1, name: visits, type: Int64}
  - {id: 2, name: tags, type: Set, elementType: String}
  - {id: 3, name: tier, type: String, default: basic}
  storage: {mode: Dedicated}
""",
    "clicks.yaml": """\
apiVersion: pannier.dev/v1alpha1
kind: FeatureGroup
metadata: {name: recent-clicks}
spec:
  groupName: recent_clicks
  key:
    entity: user
    sortKey: {type: Timestamp, unit: Seconds, width: 9}
  features:
  - {id: 0, name: article_id, type: String}
  - {id: 1, name: session_id, type: String}
  storage: {mode: Dedicated}
""",
}


class Addresses:
    """Where the sidecar under test listens."""

    def __init__(self, url: str, admin: str, uds: Path) -> None:
        self.url = url
        self.admin = admin
        self.uds = uds


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Addresses]:
    """Start `pannier serve` on free ports and a Unix socket; it says where on its first line."""
    directory = tmp_path_factory.mktemp("sidecar")
    specs, uds = directory / "specs", directory / "pannier.sock"
    specs.mkdir()
    for name, text in SPECS.items():
        (specs / name).write_text(text)
    arguments = ["--specs", str(specs), "--data-dir", str(directory / "data"), "--uds", str(uds)]
    addresses = ["--http", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--store", "embedded"]
    process = subprocess.Popen(
        [sys.executable, "-m", "pannier_cli", "serve", *arguments, *addresses],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("serving "), line
        fields = dict(part.split("=", 1) for part in line.split()[1:])
        yield Addresses(fields["data"].split(",")[0], fields["admin"], uds)
        process.send_signal(signal.SIGTERM)
        errors = process.communicate(timeout=20)[1]
    assert process.returncode == 0
    assert "Traceback" not in errors


def run(sidecar: Addresses, *arguments: str, stdin: str | None = None) -> Result:
    """Run a command against the sidecar's TCP address."""
    return CliRunner().invoke(pannier, [*arguments, "--url", sidecar.url], input=stdin, prog_name="pannier")


def test_put_then_get_shows_value_status_source_and_age(sidecar: Addresses) -> None:
    """What was put is read back as a table; a default is marked as one; the second id is missing."""
    put = run(sidecar, "put", "user_profile", "u1", "city=Seoul", "visits=3", 'tags=["a","b"]')
    assert put.exit_code == ExitCode.OK, put.output
    assert "written" in put.stdout
    got = run(sidecar, "get", "user_profile", "u1")
    assert got.exit_code == ExitCode.OK, got.output
    for text in ("u1", "found", "l1", "Seoul", '["a","b"]', "basic (default)"):
        assert text in got.stdout
    both = run(sidecar, "get", "user_profile", "u1", "nobody", "--features", "city,visits")
    assert both.exit_code == ExitCode.MISSING
    assert "missing" in both.stdout
    assert "tags" not in both.stdout


def test_timelines_are_read_newest_first(sidecar: Addresses) -> None:
    """Records of a timeline come newest first with their instants; --limit says that older ones exist."""
    for second, article in ((987654321, "a"), (987654322, "b"), (987654323, "c")):
        written = run(
            sidecar, "put", "recent_clicks", "1234", f"article_id={article}", "--timestamp", str(second)
        )
        assert written.exit_code == ExitCode.OK, written.output
    got = run(sidecar, "get", "recent_clicks", "1234", "--limit", "2", "--until", "2001-04-19T04:25:23Z")
    assert got.exit_code == ExitCode.OK, got.output
    lines = got.stdout.splitlines()
    assert [line.split()[0] for line in lines[2:4]] == ["987654323", "987654322"]
    assert "2001-04-19T04:25:23Z" in lines[2]
    assert "older records in range exist" in got.stdout
    since = run(sidecar, "get", "recent_clicks", "1234", "--since", "987654323", "--json")
    assert [record["timestamp"] for record in json.loads(since.stdout)["rows"][0]["records"]] == [987654323]


def test_json_is_the_answer_of_the_sidecar(sidecar: Addresses) -> None:
    """Programs get the row as the API gives it; --explain adds source and age."""
    run(sidecar, "put", "user_profile", "j", "visits=9007199254740993")
    plain = json.loads(run(sidecar, "get", "user_profile", "j", "--json").stdout)
    assert plain["rows"][0]["features"]["visits"] == 9007199254740993
    assert "source" not in plain["rows"][0]
    explained = json.loads(run(sidecar, "get", "user_profile", "j", "--json", "--explain").stdout)
    assert explained["rows"][0]["source"] == "l1"


def test_a_write_that_is_too_old_fails_the_command(sidecar: Addresses) -> None:
    """An older event time is ignored, and the exit code says so."""
    new = ("--event-time", "2024-01-02T00:00:00Z")
    old = ("--event-time", "2024-01-01T00:00:00Z")
    assert run(sidecar, "put", "user_profile", "o", "city=new", *new).exit_code == ExitCode.OK
    late = run(sidecar, "put", "user_profile", "o", "city=old", *old, "--json")
    assert late.exit_code == ExitCode.REFUSED
    assert json.loads(late.stdout)["verdict"] == "ignored_older"


def test_unset_and_delete_remove(sidecar: Addresses) -> None:
    """--unset takes a feature away, delete the row."""
    run(sidecar, "put", "user_profile", "d", "city=x", "visits=1")
    assert run(sidecar, "put", "user_profile", "d", "--unset", "city").exit_code == ExitCode.OK
    row = json.loads(run(sidecar, "get", "user_profile", "d", "--json").stdout)["rows"][0]
    assert "city" not in row["features"]
    assert row["features"]["visits"] == 1
    deleted = run(sidecar, "delete", "user_profile", "d")
    assert deleted.exit_code == ExitCode.OK
    assert "deleted" in deleted.stdout
    again = run(sidecar, "delete", "user_profile", "d", "--json")
    assert json.loads(again.stdout)["verdict"] == "written"
    assert run(sidecar, "get", "user_profile", "d").exit_code == ExitCode.MISSING


def test_bulk_lines_are_written_and_bad_ones_told(sidecar: Addresses) -> None:
    """Every line is a write; one that is refused is shown and fails the command, the others stand."""
    lines = [json.dumps({"id": f"bulk{n}", "features": {"visits": n}}) for n in range(1_200)]
    lines.insert(700, json.dumps({"id": "bad", "features": {"visits": "many"}}))
    bulk = run(sidecar, "put", "user_profile", "--json-file", "-", stdin="\n".join(lines))
    assert bulk.exit_code == ExitCode.REFUSED, bulk.output
    assert "1,200 written, 1 invalid" in bulk.stdout
    assert "bad" in bulk.stdout
    got = json.loads(run(sidecar, "get", "user_profile", "bulk0", "bulk1199", "--json").stdout)
    assert [row["features"]["visits"] for row in got["rows"]] == [0, 1199]


def test_a_bulk_run_that_ends_early_says_what_was_written(sidecar: Addresses) -> None:
    """Whoever mends the line and runs the rest needs the number."""
    lines = [json.dumps({"id": f"early-{n}", "features": {"visits": n}}) for n in range(501)]
    result = run(sidecar, "put", "user_profile", "--json-file", "-", stdin="\n".join([*lines, "nonsense"]))
    assert result.exit_code == ExitCode.REFUSED
    assert "500 written" in result.stdout
    assert "line 502 is not JSON" in result.stderr
    result = run(sidecar, "put", "user_profile", "--json-file", "-", stdin=f"{lines[0]}\nnonsense")
    assert result.stdout == "0 written\n"
    assert "of its own batch nothing was sent" in " ".join(result.stderr.split())


def test_a_wrong_port_is_told(sidecar: Addresses) -> None:
    """The admin port answers no reads and the data port no status; the hint says so."""
    swapped = Addresses(sidecar.admin, sidecar.url, sidecar.uds)
    for result in (
        run(swapped, "groups"),
        CliRunner().invoke(pannier, ["status", "--admin", sidecar.url], prog_name="pannier"),
    ):
        assert result.exit_code == ExitCode.REFUSED
        assert "other port" in result.stderr


@pytest.mark.parametrize("content", [b"[]", b"{}", b"null", b"", b"<html>", b"\xff"])
def test_what_answers_but_is_no_sidecar_is_told_apart(content: bytes) -> None:
    """Another program on the port ends in a sentence and exit code 3, whatever it answers."""

    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Other) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        for command in (
            ["groups", "--url", url],
            ["get", "g", "1", "--url", url],
            ["status", "--admin", url],
        ):
            result = CliRunner().invoke(pannier, command, prog_name="pannier")
            assert result.exit_code == ExitCode.UNREACHABLE, result.output
            assert "does not answer as a Pannier sidecar does" in result.stderr
        server.shutdown()
        thread.join()


def test_bulk_verdicts_as_json_lines(sidecar: Addresses, tmp_path: Path) -> None:
    """--json prints one verdict per line of input."""
    file = tmp_path / "rows.jsonl"
    file.write_text('{"id": "l1", "features": {"visits": 1}}\n\n{"id": "l2", "features": {"visits": 2}}\n')
    bulk = run(sidecar, "put", "user_profile", "--json-file", str(file), "--json")
    assert bulk.exit_code == ExitCode.OK
    assert [json.loads(line)["verdict"] for line in bulk.stdout.splitlines()] == ["written", "written"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("get", "user_profil", "1"), ExitCode.REFUSED, "Did you mean 'user_profile'?"),
        (("put", "clicks", "1", "a=1"), ExitCode.REFUSED, "Did you mean 'recent_clicks'?"),
        (("get", "user_profile", "1", "--features", "citty"), ExitCode.REFUSED, "Did you mean 'city'?"),
        (("put", "user_profile", "1", "citty=x"), ExitCode.USAGE, "Did you mean 'city'?"),
        (("put", "user_profile", "1", "city"), ExitCode.USAGE, "is not NAME=VALUE"),
        (("get", "recent_clicks", "1", "--limit", "51"), ExitCode.REFUSED, "limit"),
        (("get", "recent_clicks", "1", "--since", "yesterday"), ExitCode.REFUSED, "since"),
        (("get", "user_profile", "a#b"), ExitCode.MISSING, ""),
        (("get", "user_profile", ""), ExitCode.REFUSED, "id"),
        (("get", "user_profile", "\udcff"), ExitCode.USAGE, "not UTF-8 text"),
        (("get", "\udcff", "1"), ExitCode.USAGE, "not UTF-8 text"),
        (("put", "user_profile", "1", "city=\udcff"), ExitCode.USAGE, "not UTF-8 text"),
        (("put", "user_profile", "1", "city=a", "city=b"), ExitCode.USAGE, "more than once"),
        (("delete", "user_profile", "\udcff"), ExitCode.USAGE, "not UTF-8 text"),
        (("groups", "\udcff"), ExitCode.USAGE, "not UTF-8 text"),
        (("get", "user_profile", "1", "--features", ""), ExitCode.REFUSED, "no feature ''"),
    ],
)
def test_what_is_refused_says_why(
    sidecar: Addresses, arguments: tuple[str, ...], code: ExitCode, says: str
) -> None:
    """Wrong names, limits and ids end in one sentence and an exit code, never in a traceback."""
    result = run(sidecar, *arguments)
    assert result.exit_code == code, result.output
    assert says in result.stderr
    assert result.exception is None or isinstance(result.exception, SystemExit)


def test_an_invalid_value_is_shown_with_its_field(sidecar: Addresses) -> None:
    """A value of the wrong type is a verdict, with the path of the field."""
    result = run(sidecar, "put", "user_profile", "v", "visits=many")
    assert result.exit_code == ExitCode.REFUSED
    assert "invalid" in result.stdout
    assert "features.visits" in result.stdout


def test_a_relative_time_of_a_write_is_refused_with_what_is_taken(sidecar: Addresses) -> None:
    """A write can be repeated as it was given, so its time is one instant, not an age."""
    for command in ("put recent_clicks 1 article_id=a", "delete recent_clicks 1"):
        result = run(sidecar, *command.split(), "--timestamp", "-1h")
        assert result.exit_code == ExitCode.REFUSED
        assert "or an integer in seconds" in " ".join(result.output.split())


def test_groups_and_status_show_what_runs(sidecar: Addresses) -> None:
    """The list of groups, one group in full, and the state of the sidecar, for people and for programs."""
    listed = run(sidecar, "groups")
    assert [line.split()[:2] for line in listed.stdout.splitlines()[1:3]] == [
        ["recent_clicks", "timeline"],
        ["user_profile", "record"],
    ]
    one = run(sidecar, "groups", "user_profile")
    assert "Set<String>" in one.stdout
    assert "Hot" in one.stdout
    assert json.loads(run(sidecar, "groups", "--json").stdout)["groups"][0]["group"] == "recent_clicks"
    status = CliRunner().invoke(pannier, ["status", "--admin", sidecar.admin])
    assert status.exit_code == ExitCode.OK, status.output
    assert "2 groups" in status.stdout
    assert "embedded" in status.stdout
    document = CliRunner().invoke(pannier, ["status", "--admin", sidecar.admin, "--json"])
    assert json.loads(document.stdout)["ready"] is True


def test_everything_works_over_the_unix_socket(sidecar: Addresses) -> None:
    """--uds reaches the same data as --url."""
    arguments = ["put", "user_profile", "sock", "city=Jeju", "--uds", str(sidecar.uds)]
    assert CliRunner().invoke(pannier, arguments).exit_code == ExitCode.OK
    assert "Jeju" in run(sidecar, "get", "user_profile", "sock").stdout


def test_group_names_are_completed_from_the_running_sidecar(sidecar: Addresses) -> None:
    """The shell's completion asks the sidecar that PANNIER_URL names."""
    environment = {
        **os.environ,
        "_PANNIER_COMPLETE": "bash_complete",
        "COMP_WORDS": "pannier get us",
        "COMP_CWORD": "2",
        "PANNIER_URL": sidecar.url,
    }
    done = subprocess.run(
        [sys.executable, "-c", "from pannier_cli.main import main; main()"],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    assert done.stdout.split() == ["plain,user_profile"]


def test_colours_are_for_terminals_only(sidecar: Addresses) -> None:
    """A pipe gets no escape codes."""
    arguments = ["get", "user_profile", "nobody", "--url", sidecar.url]
    done = subprocess.run(
        [sys.executable, "-m", "pannier_cli", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == ExitCode.MISSING
    assert "\x1b" not in done.stdout + done.stderr
