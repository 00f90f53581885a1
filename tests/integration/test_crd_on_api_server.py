"""The CRD on a real API server: it is accepted, and its rules say what Python says.

Runs where ``KUBEBUILDER_ASSETS`` names a folder with etcd and kube-apiserver; offline, the same cases are
evaluated with another CEL implementation in ``tests/contract/test_spec_rules.py``.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.contract.rule_cases import ACCEPTED, EDITS, REJECTED, Case, Edit
from tests.control_plane import ApiServer, Etcd, assets
from tests.manifests import a_manifest

from pannier.crd import NAME, PLURAL, crd_manifest
from pannier.errors import SpecInvalid
from pannier.spec_base import API_VERSION, KIND
from pannier.spec_parsing import parse_feature_group
from pannier.transitions import transition_problems

pytestmark = pytest.mark.skipif(assets() is None, reason="KUBEBUILDER_ASSETS names no kube-apiserver")

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
NAMESPACE = "default"
GROUPS = f"/apis/{API_VERSION}/namespaces/{NAMESPACE}/{PLURAL}"
EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*/*.yaml"))
CREATED, OK, INVALID, BAD_REQUEST = 201, 200, 422, 400


def _title(case: Case | Edit) -> str:
    return case.title


def _in_namespace(manifest: dict[str, Any]) -> dict[str, Any]:
    moved = copy.deepcopy(manifest)
    moved["metadata"]["namespace"] = NAMESPACE
    return moved


@pytest.fixture(scope="module")
def api() -> Iterator[ApiServer]:
    """An API server that serves FeatureGroups."""
    with Etcd() as etcd, ApiServer(etcd) as server:
        status, answer = server.call("POST", CRDS, crd_manifest())
        assert status == CREATED, answer
        server.wait_until(lambda: server.call("GET", GROUPS)[0] == OK)
        yield server


def _try(api: ApiServer, manifest: dict[str, Any]) -> tuple[int, Any]:
    """Create without keeping it, strict about unknown fields as kubectl is."""
    return api.call("POST", f"{GROUPS}?dryRun=All&fieldValidation=Strict", _in_namespace(manifest))


def test_the_crd_is_established_and_structural(api: ApiServer) -> None:
    """Names are accepted, and nothing about the schema is complained of."""
    _, crd = api.call("GET", f"{CRDS}/{NAME}")
    conditions = {condition["type"]: condition["status"] for condition in crd["status"]["conditions"]}
    assert conditions["Established"] == conditions["NamesAccepted"] == "True"
    assert conditions.get("NonStructuralSchema", "False") == "False"


@pytest.mark.parametrize("case", ACCEPTED, ids=_title)
def test_sound_groups_are_accepted(api: ApiServer, case: Case) -> None:
    """What Python accepts, the API server accepts."""
    status, answer = _try(api, case.manifest)
    assert status == CREATED, answer


@pytest.mark.parametrize("case", REJECTED, ids=_title)
def test_broken_rules_are_refused_in_the_same_words(api: ApiServer, case: Case) -> None:
    """The sentence that Python says is in the API server's answer."""
    with pytest.raises(SpecInvalid) as refusal:
        parse_feature_group(case.manifest)
    status, answer = _try(api, case.manifest)
    assert status == INVALID, answer
    (problem,) = refusal.value.problems
    # a repeated id never reaches CEL: the list's key refuses it first, in Kubernetes' own words
    words = "Duplicate value" if problem.reason == "DuplicateFeatureId" else problem.message
    assert words in answer["message"]


@pytest.mark.parametrize("edit", EDITS, ids=_title)
def test_edits_are_judged_alike(api: ApiServer, edit: Edit) -> None:
    """An edit passes or is refused with the sentence that Python says."""
    old, new = _in_namespace(edit.old), _in_namespace(edit.new)
    status, stored = api.call("POST", GROUPS, old)
    assert status == CREATED, stored
    path = f"{GROUPS}/{stored['metadata']['name']}"
    try:
        new["metadata"]["resourceVersion"] = stored["metadata"]["resourceVersion"]
        status, answer = api.call("PUT", f"{path}?fieldValidation=Strict", new)
    finally:
        api.call("DELETE", path)
    problems = transition_problems(parse_feature_group(old), parse_feature_group(new))
    assert status == (INVALID if problems else OK), answer
    assert all(problem.message in answer["message"] for problem in problems)


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_the_examples_can_be_applied(api: ApiServer, file: Path) -> None:
    """The same file works with kubectl and without a cluster."""
    for document in yaml.safe_load_all(file.read_text(encoding="utf-8")):
        status, answer = _try(api, document)
        assert status == CREATED, answer


@pytest.mark.parametrize("default", [None, 0, [], "x", {"a": [None, 1.5]}])
def test_a_default_comes_back_as_it_was_declared(api: ApiServer, default: Any) -> None:
    """Null and nested values survive the round through the API server."""
    feature = {"id": 2, "name": "extra", "type": "Json", "default": default}
    status, answer = _try(api, a_manifest({"features[2]": feature}))
    assert status == CREATED, answer
    assert answer["spec"]["features"][2]["default"] == default
    assert parse_feature_group(answer).spec.features[2].has_default


def test_what_the_api_server_stores_reads_back_as_the_same_group(api: ApiServer) -> None:
    """Defaults that the API server fills in change nothing about what the group comes to."""
    for case in ACCEPTED:
        _, answer = _try(api, case.manifest)
        stored, written = parse_feature_group(answer), parse_feature_group(_in_namespace(case.manifest))
        assert stored.spec.model_dump() == written.spec.model_dump(), case.title


def test_an_unknown_field_is_refused(api: ApiServer) -> None:
    """A misspelt field is an error with kubectl, too."""
    status, answer = _try(api, a_manifest({"cache": {"local": {"ttl": 5}}}))
    assert status == BAD_REQUEST
    assert 'unknown field "spec.cache.local.ttl"' in answer["message"]


def test_a_full_group_stays_within_the_cost_budget(api: ApiServer) -> None:
    """128 features with long names and 64 consumers: the rules are still evaluated, and in time."""
    features = [{"id": i, "name": f"feature_{'x' * 50}_{i:03d}", "type": "String"} for i in range(128)]
    consumers = [{"namespace": f"team-{i}"} for i in range(64)]
    changes = {"features": features, "consumers": consumers, "key.sortKey.tieBreaker": features[-1]["name"]}
    status, answer = _try(api, a_manifest(changes, timeline=True))
    assert status == CREATED, answer


def test_kubectl_finds_groups_by_short_name_category_and_field(api: ApiServer) -> None:
    """``kubectl get fg``, ``kubectl get pannier`` and a field selector on groupName work."""
    _, resources = api.call("GET", f"/apis/{API_VERSION}")
    (resource,) = (
        found for found in resources["resources"] if found["kind"] == KIND and "/" not in found["name"]
    )
    assert (resource["shortNames"], resource["categories"]) == (["fg"], ["pannier"])
    api.call("POST", GROUPS, _in_namespace(a_manifest()))
    try:
        for name, count in (("user_facts", 1), ("others", 0)):
            _, found = api.call("GET", f"{GROUPS}?fieldSelector=spec.groupName%3D{name}")
            assert len(found["items"]) == count
    finally:
        api.call("DELETE", f"{GROUPS}/user-facts")
