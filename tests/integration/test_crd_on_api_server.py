"""The CRD on a real API server: it is accepted, and its rules say what Python says.

Without a cluster the same cases are evaluated by another CEL implementation, in
``tests/contract/test_spec_rules.py``.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.contract.rule_cases import ACCEPTED, EDITS, REJECTED, Case, Edit
from tests.control_plane import CRDS, ApiServer
from tests.manifests import a_manifest

from pannier.crd import NAME, PLURAL
from pannier.errors import SpecInvalid
from pannier.spec_base import API_VERSION
from pannier.spec_parsing import parse_feature_group
from pannier.transitions import transition_problems

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*/*.yaml"))
CREATED, OK, INVALID, BAD_REQUEST = 201, 200, 422, 400


def _title(case: Case | Edit) -> str:
    return case.title


class Groups:
    """FeatureGroups in a namespace of the API server."""

    def __init__(self, api: ApiServer, namespace: str) -> None:
        self.api = api
        self.namespace = namespace
        self.path = f"/apis/{API_VERSION}/namespaces/{namespace}/{PLURAL}"

    def moved(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Give a manifest the namespace."""
        moved = copy.deepcopy(manifest)
        moved["metadata"]["namespace"] = self.namespace
        return moved

    def attempt(self, manifest: dict[str, Any]) -> tuple[int, Any]:
        """Create without keeping it, strict about unknown fields as kubectl is."""
        path = f"{self.path}?dryRun=All&fieldValidation=Strict"
        return self.api.call("POST", path, self.moved(manifest))


@pytest.fixture
def groups(api_server: ApiServer, namespace: str) -> Groups:
    """The namespace of this module."""
    return Groups(api_server, namespace)


def test_the_crd_is_established_and_structural(groups: Groups) -> None:
    """Names are accepted, and nothing about the schema is complained of."""
    _, crd = groups.api.call("GET", f"{CRDS}/{NAME}")
    conditions = {condition["type"]: condition["status"] for condition in crd["status"]["conditions"]}
    assert conditions["Established"] == conditions["NamesAccepted"] == "True"
    assert conditions.get("NonStructuralSchema", "False") == "False"


@pytest.mark.parametrize("case", ACCEPTED, ids=_title)
def test_sound_groups_are_accepted(groups: Groups, case: Case) -> None:
    """What Python accepts, the API server accepts."""
    status, answer = groups.attempt(case.manifest)
    assert status == CREATED, answer


@pytest.mark.parametrize("case", REJECTED, ids=_title)
def test_broken_rules_are_refused_in_the_same_words(groups: Groups, case: Case) -> None:
    """The sentence that Python says is in the API server's answer."""
    with pytest.raises(SpecInvalid) as refusal:
        parse_feature_group(case.manifest)
    status, answer = groups.attempt(case.manifest)
    assert status == INVALID, answer
    (problem,) = refusal.value.problems
    # a repeated id never reaches CEL: the list's key refuses it first, in Kubernetes' own words
    words = "Duplicate value" if problem.reason == "DuplicateFeatureId" else problem.message
    assert words in answer["message"]


@pytest.mark.parametrize("edit", EDITS, ids=_title)
def test_edits_are_judged_alike(groups: Groups, edit: Edit) -> None:
    """An edit passes or is refused with the sentence that Python says."""
    old, new = groups.moved(edit.old), groups.moved(edit.new)
    status, stored = groups.api.call("POST", groups.path, old)
    assert status == CREATED, stored
    path = f"{groups.path}/{stored['metadata']['name']}"
    try:
        new["metadata"]["resourceVersion"] = stored["metadata"]["resourceVersion"]
        status, answer = groups.api.call("PUT", f"{path}?fieldValidation=Strict", new)
    finally:
        groups.api.call("DELETE", path)
    problems = transition_problems(parse_feature_group(old), parse_feature_group(new))
    assert status == (INVALID if problems else OK), answer
    assert all(problem.message in answer["message"] for problem in problems)


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_the_examples_can_be_applied(groups: Groups, file: Path) -> None:
    """The same file works with kubectl and without a cluster."""
    for document in yaml.safe_load_all(file.read_text(encoding="utf-8")):
        status, answer = groups.attempt(document)
        assert status == CREATED, answer


@pytest.mark.parametrize("default", [None, 0, [], "x", {"a": [None, 1.5]}])
def test_a_default_comes_back_as_it_was_declared(groups: Groups, default: Any) -> None:
    """Null and nested values survive the round through the API server."""
    feature = {"id": 2, "name": "extra", "type": "Json", "default": default}
    status, answer = groups.attempt(a_manifest({"features[2]": feature}))
    assert status == CREATED, answer
    assert answer["spec"]["features"][2]["default"] == default
    assert parse_feature_group(answer).spec.features[2].has_default


def test_what_the_api_server_stores_reads_back_as_the_same_group(groups: Groups) -> None:
    """Defaults that the API server fills in change nothing about what the group comes to."""
    for case in ACCEPTED:
        _, answer = groups.attempt(case.manifest)
        stored, written = parse_feature_group(answer), parse_feature_group(groups.moved(case.manifest))
        assert stored.spec.model_dump() == written.spec.model_dump(), case.title


def test_an_unknown_field_is_refused(groups: Groups) -> None:
    """A misspelt field is an error with kubectl, too."""
    status, answer = groups.attempt(a_manifest({"cache": {"local": {"ttl": 5}}}))
    assert status == BAD_REQUEST
    assert 'unknown field "spec.cache.local.ttl"' in answer["message"]


def test_a_full_group_stays_within_the_cost_budget(groups: Groups) -> None:
    """128 features with long names and 64 consumers: the rules are still evaluated, and in time."""
    features = [{"id": i, "name": f"feature_{'x' * 50}_{i:03d}", "type": "String"} for i in range(128)]
    consumers = [{"namespace": f"team-{i}"} for i in range(64)]
    changes = {"features": features, "consumers": consumers, "key.sortKey.tieBreaker": features[-1]["name"]}
    status, answer = groups.attempt(a_manifest(changes, timeline=True))
    assert status == CREATED, answer


def test_kubectl_finds_groups_by_short_name_category_and_field(groups: Groups) -> None:
    """``kubectl get fg``, ``kubectl get pannier`` and a field selector on groupName work."""
    in_namespace = f"--namespace={groups.namespace}"
    groups.api.kubectl("apply", "-f", "-", text=yaml.safe_dump(groups.moved(a_manifest())))
    try:
        for kind, selector, found in (
            ("fg", "spec.groupName=user_facts", 1),
            ("fg", "spec.groupName=others", 0),
            ("pannier", "", 1),
        ):
            listed = groups.api.kubectl(
                "get", kind, in_namespace, f"--field-selector={selector}", "--output=name"
            )
            assert listed.splitlines() == ["featuregroup.pannier.dev/user-facts"] * found
    finally:
        groups.api.kubectl("delete", "fg", "user-facts", in_namespace, "--wait=false")


def test_kubectl_shows_the_columns_that_people_look_for(groups: Groups) -> None:
    """``kubectl get fg`` says how a group is stored, and ``kubectl explain`` knows the fields."""
    in_namespace = f"--namespace={groups.namespace}"
    groups.api.kubectl("create", "-f", "-", text=yaml.safe_dump(groups.moved(a_manifest())))
    try:
        heading, row = groups.api.kubectl("get", "fg", in_namespace).splitlines()
        assert heading.split()[:5] == ["NAME", "READY", "REASON", "GROUP", "STORAGE"]
        assert "Dedicated" in row.split()
        assert "FIELDS" in groups.api.kubectl("explain", "fg.spec.cache")
    finally:
        groups.api.kubectl("delete", "fg", "user-facts", in_namespace, "--wait=false")
