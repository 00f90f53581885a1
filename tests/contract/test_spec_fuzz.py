"""Any object at all, or any damage to a sound manifest, ends in a FeatureGroup or in problems."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.contract.cel_evaluation import crd_schema
from tests.manifests import a_manifest

from pannier.catalog_building import catalog_from_specs
from pannier.catalog_rendering import parse, render
from pannier.errors import SpecInvalid
from pannier.spec import FeatureGroup
from pannier.spec_parsing import parse_feature_group
from pannier_sidecar.plan import ReadPlan

_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["String", "Int64", "None", "Timestamp", "Dedicated", "2013-01-01T00:00:00Z"]),
)
_names = st.one_of(st.text(max_size=5), st.integers(0, 3))
_anything = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=3),
    max_leaves=8,
)


def _paths(schema: dict[str, Any], path: str = "") -> list[str]:
    paths: list[str] = []
    for name, below in schema.get("properties", {}).items():
        at = f"{path}.{name}".strip(".")
        paths += [at, *_paths(below, at), *_paths(below.get("items", {}), f"{at}[0]")]
    return paths


_FIELDS = [path for path in _paths(crd_schema()["properties"]["spec"]) if not path.startswith("consumers[0]")]


def _parsed(raw: Any) -> FeatureGroup | None:
    """Parse, or give None after making sure that the refusal says something."""
    try:
        return parse_feature_group(raw)
    except SpecInvalid as invalid:
        told = [(problem.reason, problem.message) for problem in invalid.problems]
    assert told
    assert all(reason and message for reason, message in told)
    return None


@given(_anything)
@settings(deadline=None, max_examples=200)
def test_any_object_at_all_gives_problems(raw: Any) -> None:
    """No input reaches a traceback."""
    assert _parsed(raw) is None


@given(st.dictionaries(st.sampled_from(_FIELDS), _anything, max_size=2), st.booleans())
@settings(deadline=None, max_examples=300)
def test_damage_is_refused_and_whatever_passes_can_be_served(changes: dict[str, Any], timeline: bool) -> None:  # noqa: FBT001 - drawn by hypothesis
    """A group that validation lets through becomes a catalog, survives delivery and compiles to a plan."""
    try:
        manifest = a_manifest(changes, timeline=timeline)
    except (TypeError, LookupError):
        return  # two changes that contradict each other's place
    group = _parsed(manifest)
    if group is None:
        return
    catalog = catalog_from_specs([group], revision=1)
    delivered = parse({name: text.encode() for name, text in render(catalog).items()})
    assert (delivered.catalog, delivered.rejected) == (catalog, ())
    assert ReadPlan(catalog).groups
