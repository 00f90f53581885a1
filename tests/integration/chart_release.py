"""The chart on a real API server: installed by Helm, its operator as a child process in its own name.

No pods run there. So the process gets the arguments of the rendered Deployment, but for addresses and files
of this machine, and a token of the rendered ServiceAccount.
"""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tests.certificates import Authority
from tests.control_plane import ApiServer, User
from tests.helm import CHART, RELEASE, Object, arguments_of, helm, pick
from tests.integration.operator_cluster import OperatorProcess
from tests.servers import HOST, free_port

_HOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}


@dataclass(frozen=True)
class Release:
    """An installed release."""

    api: ApiServer
    namespace: str
    objects: list[Object]
    folder: Path

    @property
    def account(self) -> str:
        """What the API server calls the operator."""
        pod = pick(self.objects, "Deployment", "-operator")["spec"]["template"]["spec"]
        return f"system:serviceaccount:{self.namespace}:{pod['serviceAccountName']}"

    def user(self) -> User:
        """The operator with a token of its ServiceAccount, as a pod would have it."""
        name = self.account.rpartition(":")[2]
        path = f"/api/v1/namespaces/{self.namespace}/serviceaccounts/{name}/token"
        token = self.api.make(path, {"spec": {"expirationSeconds": 3600}})["status"]["token"]
        (self.folder / "token").write_text(token)
        config = yaml.safe_load(self.api.admin.kubeconfig.read_text())
        config["users"] = [{"name": "test", "user": {"tokenFile": str(self.folder / "token")}}]
        config["contexts"][0]["context"]["namespace"] = self.namespace
        kubeconfig = self.folder / "kubeconfig"
        kubeconfig.write_text(yaml.safe_dump(config))
        return User(name=self.account, kubeconfig=kubeconfig, pair=self.folder / "none")

    def used(self) -> set[tuple[str, str]]:
        """Verb and resource of all that the operator asked for so far."""
        told = map(json.loads, (self.api.directory / "audit.log").read_text().splitlines())
        refs = [
            (event["verb"], event["objectRef"])
            for event in told
            if event["user"]["username"] == self.account and "objectRef" in event
        ]
        return {
            (verb, "/".join(filter(None, (ref.get("resource"), ref.get("subresource")))))
            for verb, ref in refs
        }

    def granted(self) -> set[tuple[str, str]]:
        """Verb and resource of all that its roles give to the operator."""
        bound = {o["roleRef"]["name"] for o in self.objects if o["kind"].endswith("Binding")}
        rules = [
            rule
            for one in self.objects
            if one["kind"] in {"Role", "ClusterRole"} and one["metadata"]["name"] in bound
            for rule in one["rules"]
        ]
        return {
            (verb, resource) for rule in rules for verb in rule["verbs"] for resource in rule["resources"]
        }

    def operator(self, dynamodb_url: str, user: User) -> OperatorProcess:
        """The operator as the Deployment starts it."""
        flags = arguments_of(pick(self.objects, "Deployment", "-operator"))
        del flags["admin"]  # an address of this machine, as all that follows
        flags["dynamodb-endpoint-url"] = dynamodb_url
        if "shared-tables" in flags:
            found = pick(self.objects, "ConfigMap", "-shared-tables")["data"]["shared-tables.yaml"]
            (self.folder / "shared-tables.yaml").write_text(found)
            flags["shared-tables"] = str(self.folder / "shared-tables.yaml")
        if "sidecar-template" in flags:
            found = pick(self.objects, "ConfigMap", "-injector")["data"]["sidecar.yaml"]
            (self.folder / "sidecar.yaml").write_text(found)
            flags["sidecar-template"] = str(self.folder / "sidecar.yaml")
        flags |= self._https(flags)
        return OperatorProcess(user, dynamodb_url, **flags)

    def _https(self, flags: Mapping[str, str]) -> dict[str, str]:
        """Addresses and files of this machine for what the Deployment serves over HTTPS."""
        here = {name: f"{HOST}:{free_port()}" for name in ("admission", "catalog-feed") if name in flags}
        if not here:
            return {}
        authority = Authority()
        pair = authority.server(HOST)
        files = {"tls.crt": pair.certificate, "tls.key": pair.key, "ca.crt": authority.certificate}
        for name, text in files.items():
            (self.folder / name).write_text(text)
        if "admission" in here:
            self._be_asked_at(here["admission"], authority)
        flag_files = {"admission-certificate": "tls.crt", "admission-key": "tls.key"}
        flag_files |= {"catalog-authority": "ca.crt"} if "catalog-feed" in here else {}
        return here | {name: str(self.folder / file) for name, file in flag_files.items()}

    def _be_asked_at(self, address: str, authority: Authority) -> None:
        """Have the API server ask here, whatever else the chart says of the webhook staying."""
        hook = pick(self.objects, "ValidatingWebhookConfiguration")
        path = hook["webhooks"][0]["clientConfig"]["service"]["path"]
        here = {"url": f"https://{address}{path}", "caBundle": _base64(authority.certificate)}
        patch = [{"op": "replace", "path": "/webhooks/0/clientConfig", "value": here}]
        where = f"{_HOOKS}/{hook['metadata']['name']}"
        status, answer = self.api.call("PATCH", where, patch, "application/json-patch+json")
        assert status == 200, answer

    def may(
        self, verb: str, resource: str, *, name: str = "", namespace: str = "", account: str | None = None
    ) -> bool:
        """Whether an account, the operator's by default, has a right."""
        kind, _, group = resource.partition(".")
        kind, _, sub = kind.partition("/")
        attributes = {
            "verb": verb,
            "group": group,
            "resource": kind,
            "subresource": sub,
            "name": name,
            "namespace": namespace,
        }
        groups = ["system:authenticated", "system:serviceaccounts"]
        user = {"user": account or self.account, "groups": groups}
        review = {"spec": {**user, "resourceAttributes": attributes}}
        asked = self.api.make("/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
        return bool(asked["status"]["allowed"])


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@contextlib.contextmanager
def a_release(api: ApiServer, namespace: str, folder: Path, values: Mapping[str, Any]) -> Iterator[Release]:
    """Install the chart, and uninstall it again."""
    reach = ("--kubeconfig", str(api.admin.kubeconfig), "--namespace", namespace)
    helm("install", RELEASE, str(CHART), *reach, "--take-ownership", values=values)
    try:
        text = helm("get", "manifest", RELEASE, *reach)
        objects = [found for found in yaml.safe_load_all(text) if found]
        yield Release(api, namespace, objects, folder)
    finally:
        helm("uninstall", RELEASE, *reach)


def as_yaml(objects: list[Object]) -> str:
    """Write objects as kubectl takes them."""
    return "\n---\n".join(json.dumps(one) for one in objects)
