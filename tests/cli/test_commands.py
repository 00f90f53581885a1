"""The commands that need no sidecar, and how all of them fail: through click's own runner."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result
from tests.servers import ROOT, free_port

from pannier_cli.exit_codes import ExitCode
from pannier_cli.main import COMMANDS, pannier
from pannier_sidecar.settings import OPTIONS

GOOD = """\
apiVersion: pannier.dev/v1alpha1
kind: FeatureGroup
metadata:
  name: user-activity
spec:
  groupName: user_activity
  key: {entity: user}
  features:
  - {id: 0, name: score, type: Float64}
  - {id: 1, name: visits, type: Int64}
  storage: {mode: Dedicated}
"""


def pannier_run(*arguments: str, stdin: str | bytes = "") -> Result:
    """Run a command line in this process."""
    return CliRunner().invoke(pannier, list(arguments), input=stdin, prog_name="pannier")


def test_help_imports_neither_extras_nor_commands() -> None:
    """`pannier --help` works without the sidecar extra and loads nothing heavy."""
    script = (
        "import sys; from pannier_cli.main import main\n"
        "try: main(args=['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'aiohttp', 'aioboto3', 'pydantic', 'redis', 'pannier_sidecar'} & sys.modules.keys()\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["operator", "--help"], ExitCode.OK, "--table-prefix"),
        (["operator"], ExitCode.NOT_INSTALLED, "-m pip install 'pannier[operator]'"),
    ],
)
def test_without_its_extra_a_command_explains_itself(arguments: list[str], code: ExitCode, said: str) -> None:
    """The help is there, and running it says what to install, with the very Python it runs on."""
    script = (
        "import sys; sys.modules['kubernetes'] = sys.modules['kopf'] = None\n"
        f"from pannier_cli.main import main\nmain(args={arguments})\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert said in " ".join((done.stdout + done.stderr).split())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    """Each subcommand can be imported and explains itself."""
    result = pannier_run(name, "--help")
    assert result.exit_code == ExitCode.OK
    assert result.stdout.startswith(f"Usage: pannier {name}")


def test_a_misspelt_command_is_a_usage_error_with_a_suggestion() -> None:
    """`pannier sevre` says what was meant and exits with 2."""
    result = pannier_run("sevre")
    assert result.exit_code == ExitCode.USAGE
    assert "Did you mean 'serve'?" in result.stderr


def test_validate_shows_what_the_policy_comes_to(tmp_path: Path) -> None:
    """A good manifest is one line of a table, with every TTL resolved."""
    (tmp_path / "a.yaml").write_text(GOOD)
    result = pannier_run("validate", str(tmp_path))
    assert result.exit_code == ExitCode.OK, result.output
    assert result.stdout.splitlines()[1].split()[:4] == ["user_activity", "record", "2", "Hot"]


def test_validate_points_at_every_fault(tmp_path: Path) -> None:
    """File, line, field, what is wrong, what would be right, and the source with a caret; exit code 1."""
    file = tmp_path / "bad.yaml"
    file.write_text(GOOD.replace("Float64", "Flot64").replace("user_activity", "user#activity"))
    result = pannier_run("validate", str(file))
    assert result.exit_code == ExitCode.REFUSED
    lines = result.stderr.splitlines()
    assert lines[0].startswith(f"{file}:6: spec.groupName: ")
    assert lines[1] == "    6 |   groupName: user#activity"
    assert lines[2].endswith("^" * len("user#activity"))
    assert f"{file}:9: spec.features[0].type: " in result.stderr
    assert "Float64" in lines[3]
    assert lines[-1] == "2 problems"


def test_validate_finds_duplicates_between_files(tmp_path: Path) -> None:
    """Two files may not declare one groupName; the complaint names both places."""
    (tmp_path / "a.yaml").write_text(GOOD)
    (tmp_path / "b.yaml").write_text(GOOD.replace("name: user-activity", "name: other"))
    result = pannier_run("validate", str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml"))
    assert result.exit_code == ExitCode.REFUSED
    assert f"{tmp_path}/b.yaml:6: spec.groupName" in result.stderr
    assert f"{tmp_path}/a.yaml:6" in result.stderr


def test_validate_finds_duplicates_between_standard_input_and_files(tmp_path: Path) -> None:
    """What is piped in stands beside the files."""
    (tmp_path / "a.yaml").write_text(GOOD)
    result = pannier_run("validate", "-", str(tmp_path), stdin=GOOD)
    assert result.exit_code == ExitCode.REFUSED
    assert f"{tmp_path}/a.yaml:6: spec.groupName: 'user_activity' is taken by <stdin>:6" in result.stderr


def test_what_a_manifest_says_does_not_steer_the_terminal() -> None:
    """An escape sequence in a field's name is shown, not obeyed."""
    result = pannier_run("validate", "-", stdin=GOOD + '  "\\e[31mx": 1\n')
    assert result.exit_code == ExitCode.REFUSED
    assert "\\x1b[31mx: there is no such field" in result.stderr
    assert "\x1b" not in result.stderr


def test_validate_complains_of_a_broken_link(tmp_path: Path) -> None:
    """What `serve` would refuse to start with is no success."""
    (tmp_path / "a.yaml").write_text(GOOD)
    (tmp_path / "b.yaml").symlink_to(tmp_path / "gone.yaml")
    result = pannier_run("validate", str(tmp_path))
    assert result.exit_code == ExitCode.REFUSED
    assert f"{tmp_path}/b.yaml: cannot be read" in result.stderr


@pytest.mark.parametrize("stdin", [b'a: "\x01"', b"a: \xff"])
def test_validate_names_characters_that_yaml_does_not_allow(stdin: bytes) -> None:
    """A control character, or a byte that is no UTF-8, is a fault of the text and not of Pannier."""
    result = pannier_run("validate", "-", stdin=stdin)
    assert result.exit_code == ExitCode.REFUSED
    assert "is not YAML" in result.stderr or "is not UTF-8" in result.stderr


def test_validate_speaks_json(tmp_path: Path) -> None:
    """Programs get groups and problems as one document."""
    bad = pannier_run("validate", "-", "--json", stdin=GOOD.replace("Int64", "Integer"))
    document = json.loads(bad.stdout)
    assert bad.exit_code == ExitCode.REFUSED
    assert document["valid"] is False
    assert document["problems"][0]["file"] == "<stdin>"
    assert document["problems"][0]["line"] == 10
    assert document["problems"][0]["path"] == "spec.features[1].type"
    good = pannier_run("validate", "-", "--json", stdin=GOOD)
    assert good.exit_code == ExitCode.OK
    assert json.loads(good.stdout)["groups"][0]["policy"]["local"]["hardTTLSeconds"] > 0


def test_validate_complains_from_top_to_bottom(tmp_path: Path) -> None:
    """Problems come in the order of their lines, those between groups among them."""
    bad = GOOD.replace("Float64", "Flot64").replace("groupName: user_activity", "groupname: x")
    (tmp_path / "a.yaml").write_text(f"{GOOD}---\n{GOOD}---\n{bad}")
    document = json.loads(pannier_run("validate", str(tmp_path), "--json").stdout)
    lines = [problem["line"] for problem in document["problems"]]
    assert lines == sorted(lines)
    assert len(lines) == 5


def test_validate_says_where_it_found_nothing(tmp_path: Path) -> None:
    """The directory and the endings of names that it looked for, or the file."""
    (tmp_path / "a.txt").write_text(GOOD)
    (tmp_path / "empty.yaml").write_text("")
    found = pannier_run("validate", str(tmp_path), str(tmp_path / "empty.yaml"))
    assert found.exit_code == ExitCode.REFUSED
    assert f"yml files of {tmp_path} itself (not of folders in it), {tmp_path}/empty.yaml" in found.stderr


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no FeatureGroup found in standard input"),
        ("a: [", "is not YAML"),
        ("kind: Service\napiVersion: v1\n", "Service"),
    ],
)
def test_validate_refuses_what_holds_no_group(text: str, says: str) -> None:
    """Nothing to validate is no success."""
    result = pannier_run("validate", "-", stdin=text)
    assert result.exit_code == ExitCode.REFUSED
    assert says in result.stderr


def test_validate_of_a_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    """The command line is wrong, not the manifest: exit code 2."""
    assert pannier_run("validate", str(tmp_path / "none.yaml")).exit_code == ExitCode.USAGE
    assert pannier_run("validate").exit_code == ExitCode.USAGE


@pytest.mark.parametrize("command", ["crd", "completion bash", "--help"])
def test_a_full_disk_or_a_reader_that_has_gone_is_no_traceback(command: str) -> None:
    """Output that nobody takes ends the command with one sentence, or none."""
    line = [sys.executable, "-m", "pannier_cli", *command.split()]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(line, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        ExitCode.REFUSED,
        "error: the output cannot be written: No space left on device\n",
    )
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe:
        done = subprocess.run(line, stdout=pipe, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (ExitCode.REFUSED, "")


def test_crd_prints_the_committed_definition() -> None:
    """What `pannier crd` prints is a CustomResourceDefinition of FeatureGroups."""
    result = pannier_run("crd")
    assert result.exit_code == ExitCode.OK
    assert yaml.safe_load(result.stdout)["metadata"]["name"] == "featuregroups.pannier.dev"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell: str) -> None:
    """Each shell gets the script that asks pannier for its completions."""
    result = pannier_run("completion", shell)
    assert result.exit_code == ExitCode.OK
    assert "_PANNIER_COMPLETE" in result.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("get", "g", "1"),
        ("put", "g", "1", "a=1"),
        ("delete", "g", "1"),
        ("groups",),
        ("put", "g", "--json-file", "-"),
    ],
)
def test_no_sidecar_is_told_apart(arguments: tuple[str, ...]) -> None:
    """Commands that find nobody at the address exit with 3 and say how to start one."""
    result = pannier_run(*arguments, "--url", f"http://127.0.0.1:{free_port()}")
    assert result.exit_code == ExitCode.UNREACHABLE
    assert "connection refused" in result.stderr
    assert "pannier serve" in result.stderr


def test_no_sidecar_at_the_socket_or_admin_port(tmp_path: Path) -> None:
    """The same over a Unix socket, and for the admin port."""
    missing = pannier_run("get", "g", "1", "--uds", str(tmp_path / "none.sock"))
    assert missing.exit_code == ExitCode.UNREACHABLE
    assert "no such file" in missing.stderr
    status = pannier_run("status", "--admin", f"http://127.0.0.1:{free_port()}")
    assert status.exit_code == ExitCode.UNREACHABLE


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("put", "g"), "Give an ID"),
        (("put", "g", "1"), "Nothing to write"),
        (("put", "g", "1", "--json-file", "-"), "cannot be mixed with an ID"),
        (("put", "g", "--json-file", "-", "--mode", "force"), "cannot be mixed with --mode"),
        (("put", "g", "1", "a=1", "--mode", "upsert"), "'upsert' is not one of"),
        (("delete", "g", "1", "--tie-breaker", "x"), "needs --timestamp"),
        (("get", "g"), "Missing argument"),
        (("get", "g", "1", "--limit", "0"), "--limit"),
        (("bench", "--rounds", "0"), "--rounds"),
    ],
)
def test_wrong_command_lines_are_usage_errors(arguments: tuple[str, ...], says: str) -> None:
    """A wrong command line exits with 2 before anything is sent."""
    result = pannier_run(*arguments)
    assert result.exit_code == ExitCode.USAGE, result.output
    assert says in result.stderr


def test_serve_names_every_bad_setting_in_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flags and environment are checked together; the sidecar does not start."""
    monkeypatch.setenv("PANNIER_L2_TIMEOUT_MS", "soon")
    result = pannier_run("serve", "--specs", str(tmp_path), "--http", "0.0.0.0:80", "--l1-bytes", "lots")
    assert result.exit_code == ExitCode.CANNOT_START
    for name in ("PANNIER_L2_TIMEOUT_MS", "--http", "--l1-bytes"):
        assert name in result.stderr


def test_serve_help_lists_every_setting_with_its_environment_twin() -> None:
    """The flags of `serve` are the settings of the sidecar, none missing."""
    text = " ".join(pannier_run("serve", "--help").stdout.split())
    for option in OPTIONS:
        assert option.flag in text
        assert option.env in text


def test_the_reference_page_names_every_command_and_exit_code() -> None:
    """docs/reference/cli.md lists all subcommands and all exit codes by number."""
    page = (ROOT / "docs" / "reference" / "cli.md").read_text()
    for name in COMMANDS:
        assert f"`pannier {name}" in page, name
    for code in ExitCode:
        assert f"| {code.value} | " in page, code


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot be read"),
        ("", "holds no FeatureGroup"),
        (GOOD.replace("Int64", "Integer"), "a.yaml:10"),
    ],
)
def test_serve_refuses_specs_it_cannot_use(tmp_path: Path, content: str | None, says: str) -> None:
    """A missing, empty or invalid directory of manifests is told with file and line; exit code 7."""
    directory = tmp_path / "specs"
    if content is not None:
        directory.mkdir()
        (directory / "a.yaml").write_text(content)
    arguments = ["--specs", str(directory), "--data-dir", str(tmp_path / "data"), "--http", "127.0.0.1:0"]
    done = subprocess.run(
        [sys.executable, "-m", "pannier_cli", "serve", *arguments, "--admin", "127.0.0.1:0"],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == ExitCode.CANNOT_START, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
