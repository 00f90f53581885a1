"""``pannier validate``: check FeatureGroup manifests and show what their policies come to."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.markup import escape

from pannier.catalog import CatalogGroup
from pannier.catalog_building import catalog_from_specs
from pannier_cli.console import console, error_console, print_json, visible
from pannier_cli.excerpts import excerpt
from pannier_cli.exit_codes import ExitCode
from pannier_cli.failures import CommandFailed
from pannier_cli.options import json_option
from pannier_cli.policy_tables import print_policies
from pannier_sidecar.manifests import LocatedProblem, Manifests
from pannier_sidecar.specs import SUFFIXES, manifest_files, manifests_of, read_files

STDIN = "<stdin>"


@click.command()
@click.argument(
    "paths",
    nargs=-1,
    required=True,
    metavar="FILE|DIR|-...",
    type=click.Path(exists=True, allow_dash=True, path_type=Path),
)
@click.option("--namespace", default="default", show_default=True, help="Of manifests that name none.")
@json_option
def validate(paths: tuple[Path, ...], *, namespace: str, as_json: bool) -> None:
    """Check FeatureGroup manifests and show what their cache policies come to.

    Needs neither a cluster nor a sidecar. A directory stands for its .yaml, .yml and .json files; - is
    standard input. Exits with 1 where anything is invalid.
    """
    stdin = sys.stdin.buffer.read() if Path("-") in paths else b""
    piped = manifests_of(stdin, STDIN, namespace=namespace)
    try:
        files = files_of(paths)
    except OSError as error:
        raise CommandFailed(f"{error.filename}: cannot be read: {error.strerror}") from error
    found = read_files(files, namespace=namespace, beside=piped)
    groups = [resolved(manifest.group) for manifest in found.groups]
    if as_json:
        print_json(document(found, groups))
    else:
        _show(found, groups, paths, stdin.decode("utf-8-sig", "replace"))
    raise SystemExit(ExitCode.REFUSED if found.problems or not groups else ExitCode.OK)


def files_of(paths: Sequence[Path]) -> list[Path]:
    """List the files that the arguments stand for, in the order given, each once."""
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            files += manifest_files(path)
        elif path != Path("-"):
            files.append(path)
    return list(dict.fromkeys(files))


def resolved(group: Any) -> CatalogGroup:
    """Return the group as a sidecar would serve it."""
    return catalog_from_specs([group], revision=0).groups[0]


def document(found: Manifests, groups: Sequence[CatalogGroup]) -> dict[str, Any]:
    """Return everything as one JSON document for programs."""
    return {
        "valid": not found.problems and bool(groups),
        "groups": msgspec.to_builtins(groups),
        "problems": [
            {
                "file": problem.file,
                "line": problem.line or None,
                "path": problem.path,
                "reason": problem.reason,
                "message": problem.message,
            }
            for problem in found.problems
        ],
        "notes": list(found.notes),
    }


def _show(found: Manifests, groups: Sequence[CatalogGroup], paths: Sequence[Path], stdin: str) -> None:
    if groups:
        print_policies(console(), groups)
    complaints = error_console()
    for note in found.notes:
        complaints.print(f"[dim]note: {escape(visible(note))}[/]", soft_wrap=True)
    for problem in found.problems:
        _complain(complaints, problem, stdin)
    if found.problems:
        count = len(found.problems)
        complaints.print(f"[bold red]{count} problem{'' if count == 1 else 's'}[/]")
    elif not groups:
        places = ", ".join(_searched(path) for path in paths)
        complaints.print(f"[bold red]no FeatureGroup found[/] in {escape(places)}", soft_wrap=True)


def _searched(path: Path) -> str:
    """Where was looked, in words."""
    if path == Path("-"):
        return "standard input"
    if not path.is_dir():
        return str(path)
    return f"the {', '.join(sorted(SUFFIXES))} files of {path} itself (not of folders in it)"


def _complain(out: Console, problem: LocatedProblem, stdin: str) -> None:
    place = f"{problem.file}:{problem.line}" if problem.line else problem.file
    path = f"[cyan]{escape(visible(problem.path))}[/]: " if problem.path else ""
    out.print(
        f"[bold]{escape(place)}[/]: {path}{escape(visible(problem.message))} [dim]({problem.reason})[/]",
        soft_wrap=True,
    )
    source = stdin if problem.file == STDIN else _source(problem.file)
    for line in excerpt(source.splitlines(), problem.line, problem.path):
        out.print(f"[dim]{escape(line)}[/]", soft_wrap=True)


def _source(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):  # the problem itself says so
        return ""
