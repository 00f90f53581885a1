"""The FeatureGroups of directories of YAML files, as the catalog has them: names, types, schema hash."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from pannier.catalog import CatalogGroup
from pannier.catalog_building import catalog_from_specs
from pannier.errors import Problem, SpecInvalid
from pannier.spec import FeatureGroup
from pannier.spec_parsing import parse_feature_group

_SUFFIXES: Final = frozenset({".yaml", ".yml", ".json"})


def groups_of(*directories: Path) -> dict[str, CatalogGroup]:
    """Read every FeatureGroup by its groupName; raises `SpecInvalid` with the files that cannot be used."""
    found = [group for directory in directories for group in _declared(directory)]
    catalog = catalog_from_specs(found, revision=1)
    return {group.group_name: group for group in catalog.groups}


def _declared(directory: Path) -> Iterator[FeatureGroup]:
    if not directory.is_dir():
        raise SpecInvalid([Problem(str(directory), "SpecsMissing", "is no directory")])
    for file in sorted(path for path in directory.iterdir() if path.suffix in _SUFFIXES and path.is_file()):
        try:
            yield from [parse_feature_group(document) for document in _documents(file)]
        except SpecInvalid as invalid:
            raise SpecInvalid(
                [Problem(f"{file}: {p.path}", p.reason, p.message) for p in invalid.problems]
            ) from invalid


def _documents(file: Path) -> Iterator[Any]:
    try:
        documents = list(yaml.safe_load_all(file.read_text(encoding="utf-8-sig")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise SpecInvalid([Problem("", "SpecsUnreadable", f"is no YAML: {type(error).__name__}")]) from error
    return (d for d in documents if isinstance(d, dict) and d.get("kind") == "FeatureGroup")
