"""The generated CustomResourceDefinition: current, structural, bounded, and holding every rule."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from pannier.crd import crd_manifest, crd_yaml
from pannier.rules import RULES
from pannier.spec_cache import CacheSpec
from pannier.transitions import TRANSITIONS

COMMITTED = Path(__file__).parents[2] / "crds" / "featuregroups.pannier.dev.yaml"
_NOT_STRUCTURAL = {"$ref", "$defs", "anyOf", "oneOf", "allOf", "const", "title", "additionalProperties"}


def _schemas(node: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, node
    for name, below in node.get("properties", {}).items():
        yield from _schemas(below, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            yield from _schemas(node[key], f"{path}[{key}]")


def _version() -> dict[str, Any]:
    (version,) = crd_manifest()["spec"]["versions"]
    assert isinstance(version, dict)
    return version


def _schema() -> dict[str, Any]:
    schema = _version()["schema"]["openAPIV3Schema"]
    assert isinstance(schema, dict)
    return schema


def _at(path: str) -> dict[str, Any]:
    return dict(_schemas(_schema()))[path]


def test_the_committed_crd_is_what_the_models_generate() -> None:
    """Drift fails: after a change of the models, write ``pannier crd`` into crds/."""
    assert COMMITTED.read_text(encoding="utf-8") == crd_yaml()


def test_the_text_says_what_the_object_says() -> None:
    """YAML writing loses nothing and uses no anchors."""
    assert yaml.safe_load(crd_yaml()) == crd_manifest()
    assert "&id" not in crd_yaml()


def test_the_schema_is_structural() -> None:
    """No construct that an API server refuses, and a type everywhere but for the open default."""
    for path, node in _schemas(_schema()):
        foreign = _NOT_STRUCTURAL & node.keys()
        assert foreign <= {"additionalProperties"}, path
        assert node.get("additionalProperties") is not False, path
        assert "type" in node or node.get("x-kubernetes-preserve-unknown-fields"), path


def test_every_text_list_and_map_of_the_spec_is_bounded() -> None:
    """Unbounded values would put the cost of the CEL rules over the API server's budget."""
    bounds = {"string": ("maxLength", "enum"), "array": ("maxItems",)}
    for path, node in _schemas(_at(".spec"), ".spec"):
        wanted = bounds.get(node.get("type", ""), ())
        assert not wanted or any(key in node for key in wanted), path
        if node.get("type") == "object" and "properties" not in node:
            assert "maxProperties" in node, path
        if node.get("type") == "integer":
            assert {"minimum", "maximum"} <= node.keys(), path


def test_no_number_is_a_float() -> None:
    """Floats do not survive the round through Kubernetes unchanged."""
    assert not [path for path, node in _schemas(_schema()) if node.get("type") == "number"]


def test_nothing_below_cache_has_a_schema_default() -> None:
    """A default that the API server fills in could not be told from an explicit choice."""
    assert CacheSpec.model_fields
    assert not [path for path, node in _schemas(_at(".spec.cache")) if "default" in node]


def test_no_object_has_a_default() -> None:
    """An API server refuses ``default: {}`` where CEL reads what is below it."""
    assert not [path for path, node in _schemas(_schema()) if isinstance(node.get("default"), dict)]


def test_every_rule_is_in_the_crd_once() -> None:
    """No rule holds only while an operator runs."""
    in_crd = [
        (rule["rule"], rule["message"])
        for _, node in _schemas(_schema())
        for rule in node.get("x-kubernetes-validations", ())
    ]
    expected = [(r.cel, r.message) for r in RULES] + [(t.cel, t.message) for t in TRANSITIONS]
    assert sorted(in_crd) == sorted(expected)


def test_rules_point_at_fields_that_exist() -> None:
    """The API server refuses a rule whose fieldPath leads nowhere."""
    paths = dict(_schemas(_schema()))
    for path, node in _schemas(_schema()):
        for rule in node.get("x-kubernetes-validations", ()):
            assert path + rule.get("fieldPath", "") in paths, rule


def test_a_rule_asks_for_the_presence_of_what_may_be_absent() -> None:
    """Reading a field that is not there is an error, which would refuse every edit."""
    unasked = [rule for rule in TRANSITIONS if rule.cel == f"self.{rule.field} == oldSelf.{rule.field}"]
    assert len(unasked) == 5
    for rule in unasked:
        parent = _at(f".{rule.at}".replace("[]", "[items]"))
        assert rule.field in parent["required"], (rule.at, rule.field)


def test_features_merge_by_id() -> None:
    """With the id as list key, transition rules compare a feature with its own past."""
    features = _at(".spec.features")
    assert features["x-kubernetes-list-type"] == "map"
    assert features["x-kubernetes-list-map-keys"] == ["id"]


def test_every_field_is_described() -> None:
    """``kubectl explain fg`` has a sentence for every field of spec and status."""
    for root in (".spec", ".status"):
        for path, node in _schemas(_at(root), root):
            assert node.get("description") or path.endswith("]"), path


def test_kubectl_get_is_worth_reading() -> None:
    """Short name, category, a kept resource, status as a subresource and telling columns."""
    crd = crd_manifest()
    assert crd["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert crd["spec"]["names"]["shortNames"] == ["fg"]
    assert crd["spec"]["names"]["categories"] == ["pannier"]
    version = _version()
    assert version["subresources"] == {"status": {}}
    columns = [column["name"] for column in version["additionalPrinterColumns"] if "priority" not in column]
    assert columns == [
        "Ready",
        "Reason",
        "Group",
        "Storage",
        "Profile",
        "Features",
        "L1-TTL",
        "L2-TTL",
        "Age",
    ]
    selectable = [field["jsonPath"] for field in version["selectableFields"]]
    assert selectable == [".spec.groupName", ".spec.storage.tableName"]


def test_columns_read_fields_that_exist() -> None:
    """A printer column on a misspelt path would stay empty for ever."""
    paths = dict(_schemas(_schema()))
    for column in _version()["additionalPrinterColumns"]:
        path = column["jsonPath"].partition("[?")[0]
        assert path in paths or path.startswith(".metadata."), column
