"""Groups as tables for people: their features, and the cache policy with every number resolved."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from pannier_cli.row_tables import cell


def policy_table(policies: Sequence[tuple[str, dict[str, Any]]]) -> Table:
    """One line per group: how long each tier serves a value; soft/hard/negative TTL in seconds."""
    columns = ("group", "profile", "local s", "remote s", "stale s", "writes", "reads", "jitter %")
    table = _table(*columns)
    for name, policy in policies:
        table.add_row(
            escape(name),
            policy["profile"],
            tier(policy["local"]),
            tier(policy["remote"]),
            str(policy["staleIfErrorSeconds"]),
            policy["writePolicy"],
            policy["readConsistency"],
            str(policy["jitterPercent"]),
        )
    table.caption = "local and remote: soft/hard/negative TTL"
    table.caption_justify = "left"
    return table


def features_table(features: Iterable[dict[str, Any]]) -> Table:
    """One line per feature, in the order of their ids."""
    table = _table("id", "feature", "type", "state", "max bytes", "default", "description")
    for feature in features:
        table.add_row(
            str(feature["id"]),
            escape(feature["name"]),
            type_of(feature),
            feature.get("state", "Active"),
            str(feature.get("maxBytes", 8192)),
            cell(feature["default"]) if "default" in feature else "",
            escape(feature.get("description", "")),
        )
    return table


def type_of(feature: dict[str, Any]) -> str:
    """Return ``List<String>``, ``Vector(128)`` or the plain type."""
    if feature.get("elementType"):
        return f"{feature['type']}<{feature['elementType']}>"
    if feature.get("dimensions"):
        return f"{feature['type']}({feature['dimensions']})"
    return str(feature["type"])


def tier(policy: dict[str, Any]) -> str:
    """Return ``5/60/5`` for a tier that serves, else its state."""
    ttls = f"{policy['softTTLSeconds']}/{policy['hardTTLSeconds']}/{policy['negativeTTLSeconds']}"
    if policy["state"] == "Disabled":
        return "[dim]off[/]"
    return ttls if policy["state"] == "Enabled" else f"{ttls} ({policy['state']})"


def _table(*columns: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in columns:
        table.add_column(name, overflow="fold")
    return table
