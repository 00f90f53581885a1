"""Whose FeatureGroups may use Services of which namespaces: an allow-list of pairs. Pure.

A namespace's own Services need no permission. Everything else does: a Service is called with the requests of
other teams, and the operator calls it too.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from pannier_operator.on_demand.options import ANY, Permission
from pannier_operator.planning.findings import Finding

NOT_ALLOWED: Final = "ServiceNotAllowed"


def refused_server(
    namespace: str, on_demand: dict[str, Any] | None, allowed: Collection[Permission]
) -> Finding | None:
    """Say why a group may not use its Service; ``on_demand`` as in a catalog, None = it is stored."""
    service = (on_demand or {}).get("service") or {}
    other = service.get("namespace") or namespace
    if other == namespace or {Permission(namespace, other), Permission(ANY, other)} & set(allowed):
        return None
    message = (
        f"spec.onDemand.service.namespace: FeatureGroups of namespace {namespace} may not use Services of"
        f" namespace {other} (--on-demand-services)"
    )
    return Finding("False", NOT_ALLOWED, message)
