"""Rights on the tests' API server: users bound to the roles that they would have in a real cluster.

The operator gets what `docs/reference/operator.md` lists under Permissions, word for word.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import yaml

from tests.control_plane import ApiServer, User
from tests.servers import ROOT

RBAC = "/apis/rbac.authorization.k8s.io/v1"
_API_VERSION = "rbac.authorization.k8s.io/v1"
_REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
_numbers = itertools.count()
Rules = Sequence[Mapping[str, Any]]


class OperatorRights(NamedTuple):
    """Rules of the operator's roles."""

    cluster: Rules
    """Of its ClusterRole."""
    namespace: Rules
    """In each namespace that it looks after."""
    lease: Rules
    """In the namespace that holds its Lease."""


def operator_rights() -> OperatorRights:
    """Read what the operator needs from its reference."""
    page = (ROOT / "docs" / "reference" / "operator.md").read_text(encoding="utf-8")
    _, _, section = page.partition("\n## Permissions\n")
    blocks = re.findall(r"```yaml\n(.*?)```", section.partition("\n## ")[0], re.DOTALL)
    return OperatorRights(*map(yaml.safe_load, blocks))


def grant(api: ApiServer, user: User, rules: Rules, namespaces: Iterable[str] | None = None) -> None:
    """Bind a user to a role, in the whole cluster or in some namespaces, and wait until that holds."""
    name = f"{user.name}-{next(_numbers)}"
    if namespaces is None:
        _bind(api, user, rules, name, kind="ClusterRole", path=RBAC)
        api.wait_until(lambda: _is_granted(api, user, rules[-1], None))
        return
    places = list(namespaces)
    for namespace in places:
        _bind(api, user, rules, name, kind="Role", path=f"{RBAC}/namespaces/{namespace}")
    api.wait_until(lambda: all(_is_granted(api, user, rules[-1], namespace) for namespace in places))


def grant_operator(api: ApiServer, user: User, namespaces: Iterable[str], lease_namespace: str) -> None:
    """Let a user be an operator that looks after some namespaces."""
    rights = operator_rights()
    grant(api, user, rights.cluster)
    grant(api, user, rights.namespace, namespaces)
    grant(api, user, rights.lease, [lease_namespace])


def _bind(api: ApiServer, user: User, rules: Rules, name: str, *, kind: str, path: str) -> None:
    role = {"apiVersion": _API_VERSION, "kind": kind, "metadata": {"name": name}, "rules": list(rules)}
    subject = {"kind": "User", "name": user.name, "apiGroup": "rbac.authorization.k8s.io"}
    binding = {
        "apiVersion": _API_VERSION,
        "kind": f"{kind}Binding",
        "metadata": {"name": name},
        "roleRef": {"kind": kind, "name": name, "apiGroup": "rbac.authorization.k8s.io"},
        "subjects": [subject],
    }
    api.make(f"{path}/{kind.lower()}s", role)
    api.make(f"{path}/{kind.lower()}bindings", binding)


def _is_granted(api: ApiServer, user: User, rule: Mapping[str, Any], namespace: str | None) -> bool:
    """Whether the authorizer has heard of it: roles reach it a moment after they are stored."""
    resource, _, subresource = rule["resources"][-1].partition("/")
    attributes = {
        "namespace": namespace,
        "verb": rule["verbs"][-1],
        "group": rule["apiGroups"][-1],
        "resource": resource,
        "subresource": subresource,
        "name": rule.get("resourceNames", [None])[-1],
    }
    review = {"spec": {"user": user.name, "resourceAttributes": attributes}}
    return bool(api.make(_REVIEWS, review)["status"]["allowed"])
