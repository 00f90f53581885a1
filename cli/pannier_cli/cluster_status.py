"""FeatureGroups of a cluster, and which sidecars do not serve them as they are published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from rich.markup import escape

from pannier.crd import PLURAL
from pannier.spec_base import API_VERSION
from pannier.told_conditions import current_conditions
from pannier_cli.console import console, visible
from pannier_cli.fitting_tables import FittingTable

if TYPE_CHECKING:
    from pannier_operator.kube.api_client import KubeApi

_COLOURS: Final = {"True": "green", "False": "bold red", "Unknown": "yellow"}
_UNTOLD: Final[Mapping[str, str]] = {
    "status": "Unknown",
    "reason": "NotSeenYet",
    "message": "the operator has not looked yet",
}


async def groups_of(api: KubeApi, namespace: str | None) -> list[dict[str, Any]]:
    """Say of each group how it is; of all namespaces where none is named. Raises `KubeFault`."""
    folder = f"namespaces/{namespace}/{PLURAL}" if namespace else PLURAL
    return [told(one) async for one in api.items(f"/apis/{API_VERSION}/{folder}")]


def told(group: Mapping[str, Any]) -> dict[str, Any]:
    """Condense one group; what was said of an older generation is not known of this one."""
    metadata, status = group["metadata"], group.get("status") or {}
    current = current_conditions(group)
    return {
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "groupName": group["spec"]["groupName"],
        "generation": metadata["generation"],
        "revision": (status.get("config") or {}).get("revision"),
        **{kind.lower(): _finding(current.get(kind, _UNTOLD)) for kind in ("Ready", "Served")},
    }


def is_served(one: Mapping[str, Any]) -> bool:
    """Whether it is ready, and no sidecar is known to serve another version."""
    return bool(one["ready"]["status"] == "True" and one["served"]["status"] != "False")


def show(groups: Sequence[Mapping[str, Any]]) -> None:
    """Print a table for people, and below it who lags."""
    out = console()
    if not groups:
        out.print("no FeatureGroup found")
        return
    table = FittingTable("group", "generation", "ready", "served")
    for one in groups:
        name = escape(f"{one['namespace']}/{one['name']}")
        table.add_row(name, str(one["generation"]), *(_cell(one[kind]) for kind in ("ready", "served")))
    out.print(table)
    for one in groups:
        for kind in ("ready", "served"):
            if one[kind]["status"] != "True":
                message = escape(visible(f"{one['namespace']}/{one['name']}: {one[kind]['message']}"))
                out.print(f"{_coloured(one[kind]['status'], kind)} {message}", soft_wrap=True)


def _finding(condition: Mapping[str, str]) -> dict[str, str]:
    return {name: condition.get(name, "") for name in ("status", "reason", "message")}


def _cell(found: Mapping[str, str]) -> str:
    said = found["status"] if found["status"] == "True" else f"{found['status']} ({found['reason']})"
    return _coloured(found["status"], escape(visible(said)))


def _coloured(status: str, text: str) -> str:
    return f"[{_COLOURS.get(status, 'yellow')}]{text}[/]"
