"""What becomes of a pod that asks for a sidecar: the laws under Hypothesis, the cases one by one."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pannier_operator.injection.mutation import mutate, patch_of
from pannier_operator.injection.template import (
    CONTAINER,
    TemplateInvalid,
    memory_mib,
    read_template,
    vouching,
)
from pannier_operator.injection.wishes import INJECTED

TEXT = """
container:
  name: pannier-sidecar
  image: pannier:1
  restartPolicy: Always
  args: [serve]
  env: [{name: AWS_REGION, value: eu-west-1}]
  ports: [{name: pannier, containerPort: 8471}]
  volumeMounts: [{name: pannier-catalog, mountPath: /etc/pannier/catalog}]
volumes:
- {name: pannier-catalog, projected: {sources: []}}
- {name: pannier-socket, emptyDir: {}}
appMounts: [{name: pannier-socket, mountPath: /run/pannier}]
defaults: {l1Mib: 256, cpu: 100m, logLevel: info}
most: {l1Mib: 4096, cpu: "4"}
"""
TEMPLATE = read_template(TEXT)
names = st.sampled_from(["app", "proxy", "init", "istio", CONTAINER])
containers = st.lists(
    st.fixed_dictionaries(
        {"name": names},
        optional={
            "image": st.just("x"),
            "env": st.lists(
                st.sampled_from([{"name": "A", "value": "b"}, {"name": "AWS_ROLE_ARN", "value": "r"}])
            ),
            "volumeMounts": st.lists(st.sampled_from([{"name": "data", "mountPath": "/data"}]), max_size=1),
            "ports": st.lists(st.sampled_from([{"containerPort": 80}, {"containerPort": 8471}]), max_size=1),
        },
    ),
    max_size=3,
)
chosen: st.SearchStrategy[dict[str, str]] = st.dictionaries(
    st.sampled_from(["a/b", "pannier.dev/l1-mib", "pannier.dev/order", "pannier.dev/cpu", INJECTED]),
    st.sampled_from(["x", "64", "Last", "250m", "sidecar"]),
    max_size=3,
)
pods = st.fixed_dictionaries(
    {
        "metadata": st.fixed_dictionaries({}, optional={"annotations": chosen}),
        "spec": st.fixed_dictionaries(
            {"containers": containers},
            optional={
                "initContainers": containers,
                "volumes": st.lists(
                    st.sampled_from([{"name": "data"}, {"name": "pannier-socket"}]), max_size=2
                ),
                "hostNetwork": st.booleans(),
                "nodeName": st.just("n"),
            },
        ),
    }
)


def a_pod(*, annotations: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    """Make a pod of one container."""
    return {"metadata": {"annotations": annotations or {}}, "spec": {"containers": [{"name": "app"}], **spec}}


def injected(pod: dict[str, Any]) -> dict[str, Any]:
    """The pod with its sidecar."""
    result = mutate(pod, TEMPLATE)
    assert result.pod is not None, result
    return result.pod


@given(pods)
def test_a_pod_that_was_mutated_stays_as_it_is(pod: dict[str, Any]) -> None:
    """However often the API server asks; and the pod that came is left as it was."""
    before = copy.deepcopy(pod)
    result = mutate(pod, TEMPLATE)
    assert pod == before
    if result.pod is not None:
        assert mutate(result.pod, TEMPLATE) == result
        assert patch_of(result.pod, result.pod) == []


@given(pods)
def test_nothing_of_the_app_is_touched(pod: dict[str, Any]) -> None:
    """But for the annotation and the mount of the socket; its containers keep their order."""
    result = mutate(pod, TEMPLATE)
    if result.pod is None or INJECTED in (pod["metadata"].get("annotations") or {}):
        return
    after = copy.deepcopy(result.pod)
    del after["metadata"]["annotations"][INJECTED]
    spec = after["spec"]
    spec["initContainers"] = [c for c in spec["initContainers"] if c["name"] != CONTAINER]
    spec["volumes"] = [v for v in spec["volumes"] if v not in TEMPLATE.volumes]
    for container in spec["containers"] + spec["initContainers"]:
        container["volumeMounts"].remove(TEMPLATE.app_mounts[0])
    assert plain(after) == plain(pod)


def plain(document: Any) -> Any:
    """Leave out what is empty: an absent list and an empty one are the same to Kubernetes."""
    if isinstance(document, dict):
        members = {name: plain(value) for name, value in document.items()}
        return {name: value for name, value in members.items() if value not in ({}, [], None)}
    return [plain(value) for value in document] if isinstance(document, list) else document


@given(pods)
def test_the_patch_makes_the_pod(pod: dict[str, Any]) -> None:
    """Applied to the pod that came, member by member."""
    result = mutate(pod, TEMPLATE)
    if result.pod is None:
        return
    made = copy.deepcopy(pod)
    for step in patch_of(pod, result.pod):
        _, part, name = step["path"].split("/")
        assert step["op"] == "add"
        made[part][name] = step["value"]
    assert made == result.pod


def test_a_sidecar_that_asks_the_operator_is_told_whom_to_trust() -> None:
    """Once, whoever asks again; where nobody is asked, or nobody vouches, nothing is told."""
    asking = read_template(TEXT.replace("[serve]", '[serve, "--operator-url=https://pannier.svc:8474"]'))
    told = {"name": "PANNIER_OPERATOR_AUTHORITY", "value": "PEM"}
    template = vouching(asking, "PEM")
    first = mutate(a_pod(), template)
    assert first.pod is not None
    assert told in first.pod["spec"]["initContainers"][0]["env"]
    assert mutate(first.pod, template) == first
    assert vouching(asking, "") == asking
    assert vouching(TEMPLATE, "PEM") == TEMPLATE


def test_the_sidecar_comes_first_and_gets_what_was_chosen() -> None:
    """Before other init containers, which may already ask it; memory follows L1."""
    pod = a_pod(
        annotations={"pannier.dev/l1-mib": "64", "pannier.dev/cpu": "250m", "pannier.dev/log-level": "debug"},
        initContainers=[{"name": "init"}],
    )
    first, second = injected(pod)["spec"]["initContainers"]
    assert (first["name"], second["name"], first["restartPolicy"]) == (CONTAINER, "init", "Always")
    assert first["args"] == ["serve", "--l1-bytes=64MiB", "--log-level=debug"]
    memory = f"{memory_mib(64)}Mi"
    assert first["resources"] == {"requests": {"cpu": "250m", "memory": memory}, "limits": {"memory": memory}}
    assert second["volumeMounts"] == TEMPLATE.app_mounts
    last = injected(a_pod(annotations={"pannier.dev/order": "Last"}, initContainers=[{"name": "init"}]))
    assert [c["name"] for c in last["spec"]["initContainers"]] == ["init", CONTAINER]


def test_credentials_that_the_app_was_given_are_the_sidecars_too() -> None:
    """IRSA and Pod Identity: the variables and the mount of the token; nothing else of the app."""
    token = "/var/run/secrets/eks.amazonaws.com/serviceaccount"
    env = [
        {"name": "SECRET", "value": "x"},
        {"name": "AWS_ROLE_ARN", "value": "arn"},
        {"name": "AWS_WEB_IDENTITY_TOKEN_FILE", "value": f"{token}/token"},
        {"name": "AWS_REGION", "value": "us-east-1"},
    ]
    mounts = [
        {"name": "data", "mountPath": "/var/run/secrets/eks"},
        {"name": "aws-iam-token", "mountPath": token},
    ]
    pod = a_pod(containers=[{"name": "app", "env": env, "volumeMounts": mounts}])
    sidecar = injected(pod)["spec"]["initContainers"][0]
    assert sidecar["env"] == [{"name": "AWS_REGION", "value": "eu-west-1"}, *env[1:3]]
    assert sidecar["volumeMounts"] == [*TEMPLATE.container["volumeMounts"], mounts[1]]


def test_a_container_that_lost_its_restart_policy_gets_it_back() -> None:
    """Another webhook's library did not know the field, and dropped it (AWS's did)."""
    pod = injected(a_pod())
    del pod["spec"]["initContainers"][0]["restartPolicy"]
    assert mutate(pod, TEMPLATE).pod == injected(a_pod())


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"hostNetwork": True}, "hostNetwork"),
        ({"os": {"name": "windows"}}, "Windows"),
        ({"initContainers": [{"name": CONTAINER}]}, "itself (initContainers)"),
        ({"containers": [{"name": CONTAINER}]}, "itself (containers)"),
        (
            {"containers": [{"name": "app", "ports": [{"containerPort": 8471}]}]},
            "container app takes port 8471",
        ),
        ({"volumes": [{"name": "pannier-socket"}]}, "volume pannier-socket"),
    ],
)
def test_what_cannot_have_a_sidecar_is_left_alone_and_told(spec: dict[str, Any], says: str) -> None:
    """The pod runs without; kubectl shows why."""
    result = mutate(a_pod(**spec), TEMPLATE)
    assert (result.pod, result.refusal) == (None, None)
    (warning,) = result.warnings
    assert says in warning


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("inject", "true", "is a label"),
        ("l1_mib", "64", "did you mean pannier.dev/l1-mib?"),
        ("image", "evil:1", "no annotation pannier.dev/image"),
        ("l1-mib", "64Mi", "whole number of MiB"),
        ("l1-mib", "7", "from 8 to 4096"),
        ("l1-mib", "4097", "from 8 to 4096"),
        ("l1-mib", "٦٤", "whole number"),
        ("cpu", "5", "at most 4"),
        ("cpu", "0", "CPU request"),
        ("cpu", "fast", "CPU request"),
        ("log-level", "loud", "debug, info, warning, error"),
        ("order", "Middle", "First"),
    ],
)
def test_a_bad_annotation_is_refused(name: str, value: str, says: str) -> None:
    """Rather than heard wrongly, or not at all."""
    refusal = mutate(a_pod(annotations={f"pannier.dev/{name}": value}), TEMPLATE).refusal
    assert refusal is not None
    assert (refusal.reason, refusal.path) == (
        "AnnotationInvalid",
        f"metadata.annotations[pannier.dev/{name}]",
    )
    assert says in refusal.message


@pytest.mark.parametrize(
    "text", ["", "a: b", "[", TEXT.replace("pannier-sidecar", "other", 1), TEXT + "more: 1\n"]
)
def test_what_is_no_template_is_told(text: str) -> None:
    """At the start, before any pod is."""
    with pytest.raises(TemplateInvalid):
        read_template(text)
