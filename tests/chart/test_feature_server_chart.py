"""The chart of feature servers by real Helm: what it renders, whom it lets in, and what values it refuses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from reference_pages import values_table
from tests.helm import (
    FEATURE_SERVER_CHART,
    ROOT,
    HelmRefused,
    Object,
    every_value_is_described,
    helm,
    pick,
    render,
)

from pannier_ondemand.__main__ import main

VALUES: dict[str, dict[str, Any]] = {
    file.stem: yaml.safe_load(file.read_text())
    for file in (Path(__file__).parent / "feature_server_values").glob("*.yaml")
}
NAMESPACE = "flights"
every_values = pytest.mark.parametrize("name", sorted(VALUES))


def rendered(values: Mapping[str, Any]) -> list[Object]:
    return render(values, namespace=NAMESPACE, chart=FEATURE_SERVER_CHART, release="flight-features")


def container_of(objects: list[Object]) -> Object:
    (found,) = pick(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    return dict(found)


@every_values
def test_helm_has_nothing_to_object(name: str) -> None:
    """Strictly linted, under each of these values."""
    said = helm("lint", str(FEATURE_SERVER_CHART), "--strict", values=VALUES[name])
    assert "0 chart(s) failed" in said


@every_values
def test_one_name_for_all_and_one_selector(name: str) -> None:
    """The Service of the groups' spec is the release; it, the budget and the policy mean the same pods."""
    objects = rendered(VALUES[name])
    assert {o["kind"] for o in objects} - {"ConfigMap"} == {
        "Deployment",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "Service",
    }
    assert {o["metadata"]["namespace"] for o in objects} == {NAMESPACE}
    assert {o["metadata"]["name"] for o in objects if o["kind"] != "ConfigMap"} == {"flight-features"}
    deployment = pick(objects, "Deployment")["spec"]
    chosen = deployment["selector"]["matchLabels"]
    assert chosen.items() <= deployment["template"]["metadata"]["labels"].items()
    assert pick(objects, "Service")["spec"]["selector"] == chosen
    assert pick(objects, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == chosen
    assert pick(objects, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"] == chosen


@every_values
def test_its_arguments_are_those_of_the_kit(name: str) -> None:
    """Every flag is taken, and says where the chart mounts and listens."""
    objects, values = rendered(VALUES[name]), VALUES[name]
    container = container_of(objects)
    given = main.make_context("kit", list(container["args"])).params
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert given["app"] == values["app"]
    assert [str(place) for place in given["specs"]] == [mounts["specs"]]
    assert given["http"].endswith(f":{container['ports'][0]['containerPort']}")
    assert given["drain_seconds"] == values.get("drainSeconds", 10)
    grace = pick(objects, "Deployment")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert grace > given["drain_seconds"]
    (port,) = pick(objects, "Service")["spec"]["ports"]
    assert (port["port"], port["targetPort"]) == (values.get("service", {}).get("port", 8080), "features")
    if "tls" in values:
        assert str(given["certificate"]) == f"{mounts['tls']}/tls.crt"
        assert str(given["key"]) == f"{mounts['tls']}/tls.key"
    else:
        assert given["certificate"] is given["key"] is None


@every_values
def test_pods_are_restricted_and_have_no_token(name: str) -> None:
    """What Pod Security calls restricted, a read-only root, bounded memory, nothing of the API server."""
    objects = rendered(VALUES[name])
    pod = pick(objects, "Deployment")["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    container = container_of(objects)
    security = container["securityContext"]
    assert security["allowPrivilegeEscalation"] is False
    assert security["readOnlyRootFilesystem"] is True
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert container["resources"]["limits"]["memory"]
    scheme = "HTTPS" if "tls" in VALUES[name] else "HTTP"
    probes = {
        kind: container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")
    }
    assert probes == {"startup": "/livez", "liveness": "/livez", "readiness": "/readyz"}
    assert container["readinessProbe"]["httpGet"]["scheme"] == scheme


def test_specs_reach_the_pods_and_new_ones_start_them_anew() -> None:
    """Byte for byte, braces and all; a ConfigMap of somebody else's is mounted by its name."""
    values = VALUES["full"]
    objects = rendered(values)
    specs = pick(objects, "ConfigMap")
    assert specs["data"] == values["specs"]["files"]
    edited = {**values, "specs": {"files": {"scores.yaml": "other"}}}
    stamps = {
        pick(found, "Deployment")["spec"]["template"]["metadata"]["annotations"]["pannier.dev/specs"]
        for found in (objects, rendered(edited))
    }
    assert len(stamps) == 2
    least = rendered(VALUES["least"])
    assert "ConfigMap" not in {o["kind"] for o in least}
    volumes = {v["name"]: v for v in pick(least, "Deployment")["spec"]["template"]["spec"]["volumes"]}
    assert volumes["specs"]["configMap"]["name"] == "flight-specs"


def lets_in(policy: Object, namespace: str, labels: Mapping[str, str]) -> bool:
    """Whether a pod may connect, as Kubernetes reads a policy."""
    place = {"kubernetes.io/metadata.name": namespace}
    assert policy["spec"]["policyTypes"][0] == "Ingress"
    (rule,) = policy["spec"]["ingress"]
    return any(
        matches(peer["namespaceSelector"], place) and matches(peer.get("podSelector", {}), labels)
        for peer in rule["from"]
    )


def matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    if not selector.get("matchLabels", {}).items() <= labels.items():
        return False
    for one in selector.get("matchExpressions", ()):
        assert one["operator"] == "In"
        if labels.get(one["key"]) not in one["values"]:
            return False
    return True


def test_consumers_and_the_operator_reach_it_and_nobody_else() -> None:
    """The operator is known by the labels that its own chart gives it."""
    operator = pick(render(), "Deployment", "-operator")["spec"]["template"]["metadata"]["labels"]
    injector = pick(render(), "Deployment", "-injector")["spec"]["template"]["metadata"]["labels"]
    values = {**VALUES["least"], "networkPolicy": {"consumers": ["reco"]}}
    policy = pick(rendered(values), "NetworkPolicy")
    assert lets_in(policy, NAMESPACE, {"app": "web"})
    assert lets_in(policy, "reco", {"app": "web"})
    assert lets_in(policy, "pannier-system", operator)
    assert not lets_in(policy, "pannier-system", injector)
    assert not lets_in(policy, "ads", {"app": "web"})
    assert not lets_in(policy, "ads", operator)
    (rule,) = policy["spec"]["ingress"]
    assert rule["ports"] == [{"port": "features", "protocol": "TCP"}]
    asking = pick(rendered(VALUES["full"]), "NetworkPolicy")
    assert lets_in(asking, "reco", {"pannier.dev/inject": "true"})
    assert not lets_in(asking, "reco", {"app": "web"})
    assert lets_in(asking, "monitoring", {})


def test_the_operators_own_policy_lets_its_handshake_out() -> None:
    """Where its egress is restricted, pods of this chart are reached, on whatever port."""
    egress = [{"ports": [{"port": 443, "protocol": "TCP"}]}]
    policy = pick(render({"networkPolicy": {"egress": egress}}), "NetworkPolicy", "-operator")
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    *given, added = policy["spec"]["egress"]
    assert given == egress
    labels = pick(rendered(VALUES["full"]), "Deployment")["spec"]["template"]["metadata"]["labels"]
    (peer,) = added["to"]
    assert matches(peer["podSelector"], labels)
    assert peer["namespaceSelector"] == {}
    assert "ports" not in added
    assert "egress" not in pick(render(), "NetworkPolicy", "-operator")["spec"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"app": ""}, "app"),
        ({"app": "-m"}, "app"),
        ({"app": "not a module"}, "app"),
        ({"specs": {"configMap": ""}}, "specs"),
        ({"specs": {"files": {"scores.txt": "x"}}}, "specs.files"),
        ({"image": {"repository": ""}}, "image.repository"),
        ({"image": {"digest": "latest"}}, "image.digest"),
        ({"replica": 3}, "replica"),
        ({"service": {"port": 0}}, "service.port"),
        ({"networkPolicy": {"consumers": ["Not_A_Name"]}}, "networkPolicy.consumers"),
        ({"networkPolicy": {"operator": {"podLabels": None}}}, "podLabels"),
        ({"path": "features"}, "path"),
    ],
)
def test_bad_values_are_refused_by_name(values: dict[str, Any], words: str) -> None:
    """A misspelt or impossible value is no silent default."""
    merged = {**VALUES["least"], **values}
    if "image" in values:
        merged["image"] = {**VALUES["least"]["image"], **values["image"]}
    with pytest.raises(HelmRefused, match=re.escape(words)):
        rendered(merged)


def test_every_value_has_a_default_and_a_meaning() -> None:
    """values.yaml and its schema name the same values, each with a description."""
    every_value_is_described(FEATURE_SERVER_CHART)


def test_the_reference_lists_every_value() -> None:
    """Drift fails: `make reference`."""
    page = (ROOT / "docs" / "reference" / "feature-server-chart.md").read_text(encoding="utf-8")
    assert values_table(FEATURE_SERVER_CHART) in page
