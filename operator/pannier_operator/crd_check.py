"""Whether the API server serves the fields this release needs; the operator does not start without.

A field that the CRD lacks is pruned silently: a status would be written for ever and never be there.
"""

from __future__ import annotations

import http
from collections.abc import Iterator, Mapping
from typing import Any, Final

import structlog

from pannier.crd import NAME, crd_manifest
from pannier.spec_base import VERSION
from pannier_operator.errors import CannotStart, KubeFault
from pannier_operator.kube.api_client import KubeApi

_log: Final = structlog.stdlib.get_logger(__name__)
_SHOWN: Final = 5


async def check_crd(api: KubeApi) -> None:
    """Raise `CannotStart` unless the served CRD has every field of this release's."""
    try:
        served = await api.get(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{NAME}")
    except KubeFault as fault:
        if fault.is_missing:
            raise CannotStart(f"the CustomResourceDefinition {NAME} is not installed") from fault
        if fault.status == http.HTTPStatus.FORBIDDEN:
            _log.warning("crd_not_checked", fault=str(fault))
            return
        raise
    missing = missing_fields(served)
    if missing:
        shown = ", ".join(missing[:_SHOWN]) + (
            f" and {len(missing) - _SHOWN} more" if missing[_SHOWN:] else ""
        )
        raise CannotStart(
            f"the installed CustomResourceDefinition {NAME} is older than the operator: it lacks {shown}"
        )


def missing_fields(served: Mapping[str, Any]) -> list[str]:
    """Find the fields that this release's CRD has and a served one lacks."""
    return sorted(set(_fields(_schema(crd_manifest()))) - set(_fields(_schema(served))))


def _schema(crd: Mapping[str, Any]) -> Mapping[str, Any]:
    for version in crd["spec"]["versions"]:
        if version["name"] == VERSION and version.get("served"):
            schema: Mapping[str, Any] = version["schema"]["openAPIV3Schema"]
            return schema
    return {}


def _fields(node: Mapping[str, Any], path: str = "") -> Iterator[str]:
    for name, child in (node.get("properties") or {}).items():
        inner = f"{path}.{name}" if path else name
        yield inner
        yield from _fields(child, inner)
    if isinstance(node.get("items"), Mapping):
        yield from _fields(node["items"], f"{path}[]")
