"""What the commands need to know of a group before they ask for rows, and help where its name is wrong."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from pannier_cli.client import Sidecar, SidecarRefused
from pannier_cli.failures import CommandFailed, did_you_mean


def look_up(sidecar: Sidecar, name: str) -> dict[str, Any]:
    """Return the group as the sidecar serves it; an unknown name is refused with the nearest known ones."""
    try:
        return sidecar.group(name)
    except SidecarRefused as refused:
        if refused.status != HTTPStatus.NOT_FOUND:
            raise
        known = [str(group["group"]) for group in sidecar.groups()]
        hint = did_you_mean(name, known) or "`pannier groups` lists what this sidecar serves."
        if not known:
            hint = "This sidecar serves no group at all."
        raise CommandFailed(f"{sidecar.endpoint} serves no group {name!r}", hint=hint) from refused


def feature_types(group: dict[str, Any]) -> dict[str, str]:
    """Feature name -> declared type."""
    return {feature["name"]: feature["type"] for feature in group.get("features", ())}


def sort_key_unit(group: dict[str, Any]) -> str | None:
    """``Seconds``, ``Milliseconds`` or ``Microseconds`` of a timeline group, None for a record group."""
    sort_key = group.get("key", {}).get("sortKey")
    return sort_key["unit"] if sort_key else None
