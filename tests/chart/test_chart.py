"""The chart by real Helm: what it renders, and what values it refuses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from reference_pages import values_table, with_table
from tests.helm import (
    CHART,
    NAMESPACE,
    ROOT,
    HelmRefused,
    Object,
    arguments_of,
    every_value_is_described,
    helm,
    pick,
    render,
)
from tests.permissions import Rules, operator_rights

from pannier.option_values import Address
from pannier_operator.injection import injector_metrics
from pannier_operator.kube.config_maps import MAX_SHARDS, map_name
from pannier_operator.metrics import CONDITION, COUNTERS, GAUGES
from pannier_operator.on_demand.options import Permission
from pannier_operator.setting_values import Hook
from pannier_operator.settings import Settings, load

VALUES: dict[str, dict[str, Any]] = {
    file.stem: yaml.safe_load(file.read_text()) for file in (Path(__file__).parent / "values").glob("*.yaml")
}
VALUES["default"] = {}
CRD = "featuregroups.pannier.dev"
every_values = pytest.mark.parametrize("name", sorted(VALUES))


def injects(name: str) -> bool:
    """Whether these values install the injector."""
    return bool(VALUES[name].get("injection", {}).get("mode", "Webhook") == "Webhook")


def settings_of(objects: list[Object], shared_tables: str | None = None) -> Settings:
    """What the operator makes of the Deployment's arguments."""
    flags = arguments_of(pick(objects, "Deployment", "-operator"))
    if shared_tables is not None:
        flags["shared-tables"] = shared_tables
    return load({name.replace("-", "_"): value for name, value in flags.items()}, {})


@every_values
def test_helm_has_nothing_to_object(name: str) -> None:
    """Strictly linted, under each of these values."""
    assert "0 chart(s) failed" in helm("lint", str(CHART), "--strict", values=VALUES[name])


@every_values
def test_objects_are_where_and_whose_they_should_be(name: str) -> None:
    """Everything has the release's labels; namespaced objects say their namespace."""
    objects = render(VALUES[name])
    listed = [(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]) for o in objects]
    assert len(set(listed)) == len(listed)
    of_cluster = (
        "ClusterRole",
        "ClusterRoleBinding",
        "CustomResourceDefinition",
        "MutatingAdmissionPolicy",
        "MutatingAdmissionPolicyBinding",
        "MutatingWebhookConfiguration",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "ValidatingWebhookConfiguration",
    )
    for one in objects:
        metadata, kind = one["metadata"], one["kind"]
        pairs = VALUES[name].get("onDemand", {}).get("allowedServices", [])
        allowed = {NAMESPACE, *VALUES[name].get("operator", {}).get("namespaces", [])}
        allowed |= {pair["servicesOf"] for pair in pairs}
        assert kind in of_cluster or metadata["namespace"] in allowed, metadata
        assert kind == "CustomResourceDefinition" or "app.kubernetes.io/instance" in metadata["labels"]


def test_the_chart_has_the_crd_of_this_release_and_keeps_it() -> None:
    """Drift fails (`make crd`); uninstalling leaves every team's groups alone."""
    assert (CHART / "files" / f"{CRD}.yaml").read_bytes() == (ROOT / "crds" / f"{CRD}.yaml").read_bytes()
    crd = pick(render(), "CustomResourceDefinition")
    assert crd == yaml.safe_load((ROOT / "crds" / f"{CRD}.yaml").read_text())
    assert crd["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    kinds = {o["kind"] for o in render({"crds": {"install": False}})}
    assert "CustomResourceDefinition" not in kinds


@every_values
def test_the_operator_takes_its_arguments(name: str) -> None:
    """Each is a flag of `pannier operator`, and means what the value means."""
    values = VALUES[name]
    settings = settings_of(render(values))
    operator = values.get("operator", {})
    assert settings.namespaces == tuple(operator.get("namespaces", ()))
    assert settings.cluster_id == operator.get("clusterId")
    assert settings.lease_namespace == NAMESPACE
    assert settings.lease_seconds == operator.get("lease", {}).get("seconds", 15)
    assert (settings.admission is not None) == values.get("webhook", {}).get("enabled", False)
    assert settings.dynamodb_endpoint_url == values.get("aws", {}).get("dynamodbEndpointUrl")
    pairs = values.get("onDemand", {}).get("allowedServices", [])
    assert settings.on_demand_services == {Permission(p["groupsOf"], p["servicesOf"]) for p in pairs}


def test_the_defaults_are_those_of_the_operator() -> None:
    """Only where it runs is said in the chart; the rest is what the operator does by itself."""
    chart, own = settings_of(render()), load({}, {})
    named = {
        "lease_namespace": NAMESPACE,
        "lease_name": "pannier-operator",
        "log_format": "json",
        "certificate_secret": "pannier-tls",
        "certificate_names": tuple(f"pannier-{name}.{NAMESPACE}.svc" for name in ("injector", "operator")),
        "catalog_feed": Address("0.0.0.0", 8474),
        "catalog_authority": "/etc/pannier-webhook/ca.crt",
        "count_injected_pods": True,
        "admission_certificate": "/etc/pannier-webhook/tls.crt",
        "admission_key": "/etc/pannier-webhook/tls.key",
        "certificate_hooks": (Hook("mutating", f"{NAMESPACE}.pannier-injector"),),
        "sidecar_template": "/etc/pannier-injector/sidecar.yaml",
        "injector_service": "pannier-injector",
    }
    for field in Settings.__dataclass_fields__:
        assert getattr(chart, field) == named.get(field, getattr(own, field)), field


@every_values
def test_pods_are_restricted(name: str) -> None:
    """What Pod Security calls restricted, a read-only root, and resources, of every pod."""
    objects = render(VALUES[name])
    pods = [o["spec"]["template"]["spec"] for o in objects if o["kind"] == "Deployment"]
    pods += [o["spec"] for o in objects if o["kind"] == "Pod"]
    assert len(pods) == 2 + injects(name)
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False
            assert security["readOnlyRootFilesystem"] is True
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]


def test_probes_ask_the_admin_port() -> None:
    """The paths that `pannier_operator.admin` serves, at the port that the flag names."""
    deployment = pick(render(VALUES["webhook"]), "Deployment", "-operator")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert container["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "admin"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "admin"}
    flags = arguments_of(deployment)
    assert flags["admin"].endswith(f":{ports['admin']}")
    assert flags["admission"].endswith(f":{ports['webhook']}")
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert flags["admission-certificate"] == f"{mounts['webhook-certificate']}/tls.crt"


def test_only_catalogs_may_be_read_and_written() -> None:
    """Every name that a catalog can have, and no other ConfigMap."""
    role = pick(render(), "ClusterRole", "-operator")
    (rule,) = [rule for rule in role["rules"] if "configmaps" in rule["resources"]]
    assert rule["resourceNames"] == [map_name(shard) for shard in range(MAX_SHARDS)]


def test_a_restricted_operator_has_rights_in_its_namespaces_only() -> None:
    """A Role in each; of the cluster the CRD alone, as it is told what the cluster is called."""
    objects = render(VALUES["restricted"])
    cluster = pick(objects, "ClusterRole", "-operator")
    assert [(rule["resources"], rule["verbs"]) for rule in cluster["rules"]] == [
        (["customresourcedefinitions"], ["get"])
    ]
    roles = [o for o in objects if o["kind"] == "Role" and o["metadata"]["name"].endswith("-operator")]
    assert [role["metadata"]["namespace"] for role in roles] == ["reco", "ads"]
    services = pick(objects, "Role", "-services")
    assert services["metadata"]["namespace"] == "models"
    assert [rule["resources"] for rule in services["rules"]] == [["services"], ["endpointslices"]]
    bindings = [o for o in objects if o["kind"].endswith("Binding")]
    subject = {"kind": "ServiceAccount", "name": "platform-pannier", "namespace": NAMESPACE}
    assert all(binding["subjects"] == [subject] for binding in bindings)


def test_rights_are_those_of_the_reference() -> None:
    """What tests run the operator with, narrowed by names where names can narrow it."""

    def listed(rules: Rules) -> set[tuple[str, str, str]]:
        found = [
            (group, kind, r["verbs"]) for r in rules for group in r["apiGroups"] for kind in r["resources"]
        ]
        return {(group, kind, verb) for group, kind, verbs in found for verb in verbs}

    objects, rights = render(), operator_rights()
    assert listed(pick(objects, "ClusterRole", "-operator")["rules"]) == listed(
        [*rights.cluster, *rights.namespace]
    )
    assert listed(pick(objects, "Role", "-lease")["rules"]) == listed(rights.lease)


def test_no_wildcard_and_no_secret_of_others_is_granted() -> None:
    """Whatever the values; the webhooks' certificate lies in two Secrets of the release."""
    for values in VALUES.values():
        for one in render(values):
            for rule in one.get("rules", ()) if one["kind"] in {"Role", "ClusterRole"} else ():
                assert "*" not in (*rule["verbs"], *rule["resources"], *rule["apiGroups"])
                if "pods" in rule["resources"]:
                    assert rule["verbs"] in (["get", "list"], ["list"])
                if "secrets" in rule["resources"]:
                    assert rule["verbs"] == ["get", "patch"]
                    assert all(name.endswith(("-tls", "-tls-authority")) for name in rule["resourceNames"])


def test_the_webhook_is_asked_briefly_and_may_be_away() -> None:
    """Ignore by default, a few seconds, no side effects, the CA by cert-manager or as given."""
    hook = pick(render(VALUES["webhook"]), "ValidatingWebhookConfiguration")
    assert hook["metadata"]["annotations"] == {
        "cert-manager.io/inject-ca-from": "pannier-system/pannier-webhook"
    }
    (webhook,) = hook["webhooks"]
    assert (webhook["failurePolicy"], webhook["sideEffects"]) == ("Ignore", "None")
    assert webhook["timeoutSeconds"] <= 5
    assert "caBundle" not in webhook["clientConfig"]
    (full,) = pick(render(VALUES["full"]), "ValidatingWebhookConfiguration")["webhooks"]
    assert full["clientConfig"]["caBundle"]
    assert full["namespaceSelector"]["matchExpressions"][0]["values"] == ["reco"]


@pytest.mark.parametrize(("name", "source"), [("full", "secret"), ("webhook", "configMap")])
def test_who_vouches_for_feature_servers_reaches_the_operator(name: str, source: str) -> None:
    """One key of one object, which may come later: a Secret's private key stays where it is."""
    objects = render(VALUES[name])
    pod = pick(objects, "Deployment", "-operator")["spec"]["template"]["spec"]
    (volume,) = [one for one in pod["volumes"] if one["name"] == "on-demand-authority"]
    (mount,) = [m for m in pod["containers"][0]["volumeMounts"] if m["name"] == "on-demand-authority"]
    given = VALUES[name]["onDemand"]["authority"]
    key = given.get("key", "ca.crt")
    assert volume[source]["items"] == [{"key": key, "path": "ca.crt"}]
    assert volume[source]["optional"] is True
    assert given[f"{source}Name"] in volume[source].values()
    assert settings_of(objects).on_demand_ca == f"{mount['mountPath']}/ca.crt"


def test_shared_tables_reach_the_operator(tmp_path: Path) -> None:
    """The file is what `--shared-tables` reads; another list starts the pods anew."""
    objects = render(VALUES["full"])
    file = tmp_path / "shared-tables.yaml"
    file.write_text(pick(objects, "ConfigMap", "-shared-tables")["data"]["shared-tables.yaml"])
    assert yaml.safe_load(file.read_text()) == VALUES["full"]["operator"]["sharedTables"]
    assert settings_of(objects, str(file)).shared_tables == str(file)
    stamps = {
        pick(render(values), "Deployment", "-operator")["spec"]["template"]["metadata"]["annotations"][
            "pannier.dev/shared-tables"
        ]
        for values in (VALUES["full"], VALUES["default"])
    }
    assert len(stamps) == 2


def test_alerts_ask_for_metrics_that_there_are() -> None:
    """Every name in an expression is one that the operator serves; braces survive Helm."""
    rule = pick(render(VALUES["full"]), "PrometheusRule")
    (group,) = rule["spec"]["groups"]
    assert group["rules"] == yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())
    served = {CONDITION, *GAUGES, *(name for name, _, _ in COUNTERS), *injector_metrics.GAUGES}
    named = {name for alert in group["rules"] for name in re.findall(r"pannier_\w+", alert["expr"])}
    assert named <= served
    assert all({"summary", "description"} == alert["annotations"].keys() for alert in group["rules"])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"webhok": {}}, "webhok"),
        ({"operator": {"worker": 3}}, "worker"),
        ({"operator": {"workers": 0}}, "operator.workers"),
        ({"operator": {"namespaces": ["Not_A_Name"]}}, "operator.namespaces"),
        ({"operator": {"tablePrefix": "a.b"}}, "tablePrefix"),
        ({"webhook": {"enabled": True, "secretName": "x"}}, "webhook"),
        ({"certificates": {"mode": "Provided"}}, "certificates"),
        ({"certificates": {"mode": "CertManager"}}, "certificates"),
        ({"injection": {"mode": "Sometimes"}}, "injection.mode"),
        ({"sidecar": {"cpu": "fast"}}, "sidecar.cpu"),
        (
            {"onDemand": {"allowedServices": [{"groupsOf": "a", "servicesOf": "*"}]}},
            "onDemand.allowedServices",
        ),
        ({"onDemand": {"authority": {"secretName": "a", "configMapName": "b"}}}, "onDemand.authority"),
        ({"webhook": {"failurePolicy": "Sometimes"}}, "failurePolicy"),
        ({"serviceAccount": {"create": False}}, "serviceAccount.name"),
        ({"image": {"digest": "latest"}}, "image.digest"),
        ({"aws": {"accessKeyId": "AKIA"}}, "accessKeyId"),
    ],
)
def test_bad_values_are_refused_by_name(values: dict[str, Any], words: str) -> None:
    """A misspelt or impossible value is no silent default."""
    with pytest.raises(HelmRefused, match=re.escape(words)):
        render(values)


def test_every_value_has_a_default_and_a_meaning() -> None:
    """values.yaml and its schema name the same values, each with a description."""
    every_value_is_described(CHART)


def test_the_reference_lists_every_value() -> None:
    """Drift fails: `make reference`."""
    assert values_table() in (ROOT / "docs" / "reference" / "chart.md").read_text(encoding="utf-8")


def test_a_table_is_put_where_its_head_is() -> None:
    """What stands around it stays; a page without such a table is an error, and not a lost table."""
    page = "# a\n\n| x | y |\n| --- | --- |\n| old | 1 |\n\nafter\n"
    table = "| x | y |\n| --- | --- |\n| new | 2 |\n"
    assert with_table(page, table) == page.replace("old | 1", "new | 2")
    assert with_table(page.removesuffix("\nafter\n"), table).endswith("| new | 2 |\n")
    with pytest.raises(ValueError, match="no table"):
        with_table("# a\n", table)
