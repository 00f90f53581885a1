"""YAML text of several documents -> FeatureGroups, with file and line in every complaint.

The text is composed into nodes that know their lines; a problem's field path is walked down the nodes to
the line it means. What a FeatureGroup must be is the contract's business (`pannier.spec_parsing`); which
files are read is that of `specs`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import yaml

from pannier.errors import Problem, SpecInvalid
from pannier.spec import DEFAULT_NAMESPACE, FeatureGroup
from pannier.spec_base import GROUP, KIND
from pannier.spec_parsing import parse_feature_group
from pannier.spec_problems import nearest
from pannier_sidecar.yaml_nodes import ManifestLoader, duplicate_keys, line_of, object_of, refuse_excess

_NOT_YAML: Final = "NotYaml"


@dataclass(frozen=True, slots=True)
class LocatedProblem(Problem):
    """A problem in a file; ``line`` counts from 1, 0 = the file as a whole."""

    file: str
    line: int

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {Problem.__str__(self)}"


@dataclass(frozen=True, slots=True)
class Manifest:
    """A FeatureGroup and where it stands."""

    group: FeatureGroup
    file: str
    line: int
    """Of the document's first line."""
    name_line: int
    """Of ``spec.groupName``."""


@dataclass(frozen=True, slots=True)
class Manifests:
    """What a text or some files hold: good groups, what is wrong with others, and what was passed over."""

    groups: tuple[Manifest, ...] = ()
    problems: tuple[LocatedProblem, ...] = ()
    notes: tuple[str, ...] = ()

    def __add__(self, other: Manifests) -> Manifests:
        return Manifests(self.groups + other.groups, self.problems + other.problems, self.notes + other.notes)


def parse_manifests(text: str, file: str, *, namespace: str = DEFAULT_NAMESPACE) -> Manifests:
    """Read every document of a text. A bad one does not hide the others; only broken YAML ends the file."""
    found = Manifests()
    try:
        loader = ManifestLoader(text)
    except yaml.YAMLError as error:  # a character that YAML does not allow, anywhere in the text
        return Manifests(problems=(_broken_yaml(error, file),))
    try:
        while loader.check_node():
            if (node := loader.get_node()) is not None:
                found += _parse_document(loader, node, file, namespace)
    except yaml.YAMLError as error:
        found += Manifests(problems=(_broken_yaml(error, file),))
    except RecursionError:
        found += Manifests(problems=(LocatedProblem("", _NOT_YAML, "is nested too deeply", file, 0),))
    finally:
        loader.dispose()
    return found


def _parse_document(loader: ManifestLoader, node: yaml.Node, file: str, namespace: str) -> Manifests:
    refuse_excess(node)
    repeated = tuple(
        LocatedProblem(key, "DuplicateField", f"is given twice; the first is in line {first}", file, line)
        for key, first, line in duplicate_keys(node)
    )
    raw = object_of(loader, node)
    if raw is None:
        return Manifests()
    if not _is_feature_group(raw):
        return Manifests(notes=(f"{file}:{node.start_mark.line + 1}: {_describe(raw)} is not for Pannier",))
    if repeated:
        return Manifests(problems=repeated)
    try:
        group = parse_feature_group(raw, namespace=namespace)
    except SpecInvalid as invalid:
        return Manifests(problems=tuple(_locate(invalid, node, file)))
    name_line = line_of(node, "spec.groupName")
    return Manifests(groups=(Manifest(group, file, node.start_mark.line + 1, name_line),))


def _locate(invalid: SpecInvalid, node: yaml.Node, file: str) -> Iterator[LocatedProblem]:
    for problem in invalid.problems:
        line = line_of(node, problem.path)
        yield LocatedProblem(problem.path, problem.reason, problem.message, file, line)


def _is_feature_group(raw: Any) -> bool:
    """Whether a document means to be one: also with a misspelt kind or group, or with neither."""
    if not isinstance(raw, dict):
        return True
    kind, api_version = raw.get("kind"), raw.get("apiVersion")
    api_group = str(api_version).partition("/")[0]
    if kind == KIND:
        return api_version is None or nearest(api_group, [GROUP]) is not None
    return api_group == GROUP or (kind is None and api_version is None)


def _describe(raw: dict[str, Any]) -> str:
    metadata = raw.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return f"{raw.get('kind')} {name}" if name else str(raw.get("kind"))


def _broken_yaml(error: yaml.YAMLError, file: str) -> LocatedProblem:
    if isinstance(error, yaml.reader.ReaderError):
        what = f"holds the character {error.character:#04x} (number {error.position})"
        return LocatedProblem("", _NOT_YAML, f"is not YAML: {what}, which YAML does not allow", file, 0)
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    said = ", ".join(filter(None, (getattr(error, "context", None), getattr(error, "problem", None))))
    return LocatedProblem("", _NOT_YAML, f"is not YAML: {said or error}", file, mark.line + 1 if mark else 0)
