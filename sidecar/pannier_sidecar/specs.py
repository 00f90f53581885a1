"""A directory of FeatureGroup manifests -> the catalog that is served without a cluster.

All or nothing: a start with half of the groups would look like data that is missing, so every fault in
every file is named in one error and nothing is served. Read once, at start.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from pannier.catalog import Catalog
from pannier.catalog_building import DEFAULT_TABLE_PREFIX, catalog_from_specs, catalog_group
from pannier.errors import SpecInvalid
from pannier.inputs import UNKNOWN_GROUP, input_graph
from pannier.spec import DEFAULT_NAMESPACE
from pannier_sidecar.manifests import LocatedProblem, Manifest, Manifests, parse_manifests

SUFFIXES = frozenset({".yaml", ".yml", ".json"})
"""What ``kubectl apply -f DIR`` reads as well; like it, not in folders below."""


def catalog_from_directory(
    directory: Path,
    *,
    revision: int,
    namespace: str = DEFAULT_NAMESPACE,
    table_prefix: str = DEFAULT_TABLE_PREFIX,
) -> Catalog:
    """Make the catalog of a directory; raises `SpecInvalid` with file and line of all that is wrong."""
    found = read_directory(directory, namespace=namespace)
    if found.problems:
        raise SpecInvalid(found.problems)
    if not found.groups:
        raise SpecInvalid([_nothing_found(directory, found)])
    groups = [manifest.group for manifest in found.groups]
    return catalog_from_specs(groups, revision=revision, table_prefix=table_prefix)


def read_directory(directory: Path, *, namespace: str = DEFAULT_NAMESPACE) -> Manifests:
    """Read every manifest of a directory, problems included."""
    try:
        files = manifest_files(directory)
    except OSError as error:
        return Manifests(problems=(_unreadable(directory, error),))
    return read_files(files, namespace=namespace)


def manifest_files(directory: Path) -> list[Path]:
    """List the manifests of a directory; a broken link is listed too, so that reading it complains.

    Pipes and devices are not: reading one may never end.
    """
    named = (entry for entry in directory.iterdir() if entry.suffix in SUFFIXES)
    return sorted(entry for entry in named if entry.is_file() or (entry.is_symlink() and not entry.exists()))


def read_files(
    files: Iterable[Path], *, namespace: str = DEFAULT_NAMESPACE, beside: Manifests | None = None
) -> Manifests:
    """Read the manifests of some files, problems between them included; ``beside`` came from elsewhere."""
    found, files = beside or Manifests(), list(files)
    for file in files:
        found += _read_file(file, namespace)
    # what came from elsewhere first, then files as they were given, and each from top to bottom
    rank = {str(file): number for number, file in enumerate(files)}
    faults = tuple(_input_faults(found.groups))
    elsewhere = [fault for fault in faults if fault.reason == UNKNOWN_GROUP]
    broken = [fault for fault in faults if fault.reason != UNKNOWN_GROUP]
    problems = (*found.problems, *_duplicates(found.groups), *broken)
    ordered = sorted(problems, key=lambda problem: (rank.get(problem.file, -1), problem.line))
    return Manifests(found.groups, tuple(ordered), (*found.notes, *map(_missing_here, elsewhere)))


def _read_file(file: Path, namespace: str) -> Manifests:
    try:
        content = file.read_bytes()
    except OSError as error:
        return Manifests(problems=(_unreadable(file, error),))
    return manifests_of(content, str(file), namespace=namespace)


def manifests_of(content: bytes, file: str, *, namespace: str = DEFAULT_NAMESPACE) -> Manifests:
    """Read the manifests of a file's content."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"is not UTF-8 text (byte {error.start})"
        return Manifests(problems=(LocatedProblem("", "NotText", message, file, 0),))
    return parse_manifests(text, file, namespace=namespace)


def _duplicates(manifests: Iterable[Manifest]) -> Iterator[LocatedProblem]:
    """Find names given twice: one sidecar serves a groupName once, a cluster holds a resource once."""
    names: dict[str, Manifest] = {}
    resources: dict[tuple[str, str], Manifest] = {}
    for manifest in manifests:
        metadata, name = manifest.group.metadata, manifest.group.spec.group_name
        other = names.setdefault(name, manifest)
        if other is not manifest:
            message = f"{name!r} is taken by {other.file}:{other.name_line}; every group needs its own name"
            yield LocatedProblem(
                "spec.groupName", "GroupNameTaken", message, manifest.file, manifest.name_line
            )
        twin = resources.setdefault((metadata.namespace, metadata.name), manifest)
        if twin is not manifest:
            message = f"{metadata.name!r} is declared in {twin.file}:{twin.line} already"
            yield LocatedProblem("metadata.name", "DuplicateResource", message, manifest.file, manifest.line)


def _input_faults(manifests: Iterable[Manifest]) -> Iterator[LocatedProblem]:
    """Find inputs that lead into a cycle, too deep, or to what another group does not have."""
    by_name = {manifest.group.spec.group_name: manifest for manifest in manifests}
    computed = (manifest.group.spec.on_demand for manifest in by_name.values())
    if not any(server is not None and server.inputs for server in computed):
        return
    groups = [
        catalog_group(manifest.group, "ReadWrite", DEFAULT_TABLE_PREFIX) for manifest in by_name.values()
    ]
    for name, fault in input_graph(groups).faults.items():
        manifest = by_name[name]
        yield LocatedProblem(fault.path, fault.reason, fault.message, manifest.file, manifest.line)


def _missing_here(fault: LocatedProblem) -> str:
    """Another file, or another namespace, may declare the group; until one does, rows are unknown."""
    return f"{fault}; declared nowhere else, rows are unknown"


def _unreadable(path: Path, error: OSError) -> LocatedProblem:
    reason = "SpecsMissing" if isinstance(error, FileNotFoundError) else "SpecsUnreadable"
    return LocatedProblem("", reason, f"cannot be read: {error.strerror or error}", str(path), 0)


def _nothing_found(directory: Path, found: Manifests) -> LocatedProblem:
    other = f"; only other kinds: {'; '.join(found.notes)}" if found.notes else ""
    message = f"holds no FeatureGroup in a .yaml, .yml or .json file{other}"
    return LocatedProblem("", "SpecsEmpty", message, str(directory), 0)
