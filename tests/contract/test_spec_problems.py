"""Structural faults of a manifest: every one is named, with its place and with what would be right."""

from __future__ import annotations

from typing import Any

import pytest
from tests.manifests import ABSENT, a_manifest

from pannier.errors import Problem, SpecInvalid
from pannier.spec_parsing import parse_feature_group


def _problems(raw: object) -> tuple[Problem, ...]:
    with pytest.raises(SpecInvalid) as refusal:
        parse_feature_group(raw)
    return refusal.value.problems


def _problem(changes: dict[str, Any]) -> Problem:
    (problem,) = _problems(a_manifest(changes))
    return problem


@pytest.mark.parametrize(
    ("changes", "path", "reason", "words"),
    [
        ({"features[0].type": "Strin"}, "spec.features[0].type", "InvalidChoice", "did you mean String?"),
        ({"features[1].type": "int64"}, "spec.features[1].type", "InvalidChoice", "did you mean Int64?"),
        ({"cache": {"profile": "Lukewarm"}}, "spec.cache.profile", "InvalidChoice", "did you mean Warm?"),
        ({"/kind": "FeatureGrop"}, "kind", "InvalidChoice", "it must be FeatureGroup"),
        ({"/apiVersion": "pannier.dev/v1"}, "apiVersion", "InvalidChoice", "must be pannier.dev/v1alpha1"),
        ({"grupName": "x"}, "spec.grupName", "UnknownField", "did you mean groupName?"),
        ({"group_name": "x"}, "spec.group_name", "UnknownField", "did you mean groupName?"),
        (
            {"cache": {"local": {"softTtlSecs": 4}}},
            "spec.cache.local.softTtlSecs",
            "UnknownField",
            "did you mean softTTLSeconds?",
        ),
        ({"cache": {"remote": {"ttl": 4}}}, "spec.cache.remote.ttl", "UnknownField", "hardTTLSeconds"),
        ({"features[0].qqq": 1}, "spec.features[0].qqq", "UnknownField", "known here: default, description"),
        ({"groupName": "a#b"}, "spec.groupName", "InvalidText", "'#' separates it from the id"),
        ({"groupName": "a\n"}, "spec.groupName", "InvalidText", "beginning with a letter"),
        ({"groupName": ""}, "spec.groupName", "InvalidText", "at least 1"),
        ({"groupName": "g" * 129}, "spec.groupName", "InvalidText", "takes at most 128"),
        ({"groupName": ABSENT}, "spec.groupName", "MissingField", "is required"),
        ({"groupName": 7}, "spec.groupName", "InvalidType", "7 is a number; it takes text; quote it"),
        ({"features[0].name": True}, "spec.features[0].name", "InvalidType", "on, off, yes and no (True)"),
        ({"features[0].name": True}, "spec.features[0].name", "InvalidType", "it takes text; quote it"),
        ({"features[0].name": []}, "spec.features[0].name", "InvalidType", "is a list; it takes text"),
        (
            {"cache": {"local": {"maxBytes": "32MiB"}}},
            "spec.cache.local.maxBytes",
            "InvalidType",
            "'32MiB' is text; it takes a whole number of bytes",
        ),
        ({"retention": {"seconds": "7d"}}, "spec.retention.seconds", "InvalidType", "number of seconds"),
        ({"groupName": None}, "spec.groupName", "InvalidType", "leave the field out"),
        ({"features": []}, "spec.features", "InvalidLength", "at least 1"),
        ({"features": {"a": "b"}}, "spec.features", "InvalidType", "is an object; it takes a list"),
        ({"features[0].id": "0"}, "spec.features[0].id", "InvalidType", "is text; it takes a whole number"),
        ({"features[0].id": True}, "spec.features[0].id", "InvalidType", "is a truth value"),
        ({"features[0].id": 1.0}, "spec.features[0].id", "InvalidType", "with a fraction"),
        ({"features[1].id": -1}, "spec.features[1].id", "OutOfBounds", "it takes at least 0"),
        ({"features[0].name": "a b"}, "spec.features[0].name", "InvalidText", "letters, digits and '_'"),
        ({"key.maxIdBytes": 1901}, "spec.key.maxIdBytes", "OutOfBounds", "it takes at most 1900"),
        ({"storage.region": "europe"}, "spec.storage.region", "InvalidText", "eu-central-1"),
        ({"key": "user"}, "spec.key", "InvalidType", "it takes an object"),
        ({"/metadata.name": "User_Facts"}, "metadata.name", "InvalidText", "small letters"),
    ],
)  # fmt: skip
def test_a_structural_fault_is_named(changes: dict[str, Any], path: str, reason: str, words: str) -> None:
    """One fault gives one problem: dotted path, CamelCase reason, a sentence of what would be right."""
    problem = _problem(changes)
    assert (problem.path, problem.reason) == (path, reason)
    assert words in problem.message


@pytest.mark.parametrize(
    ("ids", "path"),
    [
        ([0, 1, 2, 4, 5], "spec.features[3].id"),
        ([5, 4, 0, 1, 2], "spec.features[1].id"),
        ([1, 2], "spec.features[0].id"),
    ],
)
def test_a_gap_is_shown_at_the_first_id_after_it(ids: list[int], path: str) -> None:
    """One gap is one problem, wherever in the list the feature stands."""
    features = [{"id": i, "name": f"f{i}", "type": "Bool"} for i in ids]
    problem = _problem({"features": features})
    assert (problem.path, problem.reason) == (path, "FeatureIdGap")


@pytest.mark.parametrize(
    ("last_id", "path", "message"),
    [
        (128, "spec.features[128].id", "128 is out of bounds; it takes at most 127"),
        (127, "spec.features", "has 129 entries; it takes at most 128"),
    ],
)
def test_a_hundred_and_twenty_nine_features_are_too_many(last_id: int, path: str, message: str) -> None:
    """Neither a number beyond the last nor a longer list gets in."""
    ids = [*range(128), last_id]
    features = [{"id": i, "name": f"f{n}", "type": "Bool"} for n, i in enumerate(ids)]
    problem = _problem({"features": features})
    assert (problem.path, problem.message) == (path, message)


def test_every_fault_is_reported_at_once() -> None:
    """Nobody should have to fix one fault to learn of the next."""
    manifest = a_manifest({"groupName": "a#b", "features[0].type": "Text", "storage": {"mode": "Own"}})
    assert [problem.path for problem in _problems(manifest)] == [
        "spec.groupName",
        "spec.features[0].type",
        "spec.storage.mode",
    ]


@pytest.mark.parametrize("raw", [None, [], "text", 3, {}])
def test_what_is_no_object_at_all_is_refused(raw: object) -> None:
    """Any decoded YAML gives problems, never a traceback."""
    assert _problems(raw)


@pytest.mark.parametrize(
    ("feature", "reason", "path"),
    [
        ({"type": "Int64", "default": "4"}, "WrongType", "spec.features[2].default"),
        ({"type": "Int64", "default": 2**63}, "Int64OutOfRange", "spec.features[2].default"),
        ({"type": "Float64", "default": float("nan")}, "NotJson", "spec.features[2].default"),
        (
            {"type": "List", "elementType": "Bool", "default": [True, 1]},
            "WrongType",
            "spec.features[2].default[1]",
        ),
        ({"type": "Vector", "dimensions": 2, "default": [1.0]}, None, "spec.features[2].default"),
        ({"type": "String", "default": "x" * 2047}, "DefaultTooLarge", "spec.features[2].default"),
    ],
)
def test_a_default_has_to_be_a_value_of_its_type(
    feature: dict[str, Any], reason: str | None, path: str
) -> None:
    """Defaults are judged by the codec that judges written values, elements included."""
    problem = _problem({"features[2]": {"id": 2, "name": "extra", **feature}})
    assert problem.path == path
    assert reason in {None, problem.reason}


@pytest.mark.parametrize(
    "feature",
    [
        {"type": "Int64", "default": 2**63 - 1},
        {"type": "Float64", "default": 1},
        {"type": "Bool", "default": None},
        {"type": "Json", "default": {"default": None, "a": [None]}},
        {"type": "Timestamp", "default": "2013-01-01T05:00:00Z"},
        {"type": "Set", "elementType": "String", "default": []},
    ],
)
def test_defaults_of_the_right_type_pass(feature: dict[str, Any]) -> None:
    """A declared null is a default like any other, and nulls within values are values."""
    group = parse_feature_group(a_manifest({"features[2]": {"id": 2, "name": "extra", **feature}}))
    assert group.spec.features[2].has_default


def test_what_kubectl_prints_can_be_read_back() -> None:
    """Kubernetes' own metadata and the status do not get in the way."""
    raw = a_manifest(
        {
            "/metadata.uid": "1",
            "/metadata.managedFields": [None],
            "/metadata.generation": 4,
            "/status": {"a": None},
        }
    )
    assert parse_feature_group(raw).metadata.generation == 4


def test_a_manifest_without_a_namespace_takes_the_callers() -> None:
    """One that names a namespace keeps it."""
    anywhere = a_manifest({"/metadata.namespace": ABSENT})
    assert parse_feature_group(anywhere).metadata.namespace == "default"
    assert parse_feature_group(anywhere, namespace="ads").metadata.namespace == "ads"
    assert parse_feature_group(a_manifest(), namespace="ads").metadata.namespace == "shop"
