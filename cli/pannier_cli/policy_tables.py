"""Groups as tables for people: their features, and the cache policy with every number resolved."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape

from pannier.catalog import CatalogGroup
from pannier.policy import CachePolicy, TierPolicy
from pannier_cli.console import visible
from pannier_cli.fitting_tables import FittingTable


def print_policies(out: Console, groups: Sequence[CatalogGroup]) -> None:
    """Print the groups and what the figures mean."""
    out.print(groups_table(groups), soft_wrap=True)
    out.print("[dim italic]local and remote: soft/hard/negative TTL in seconds[/]")


def groups_table(groups: Sequence[CatalogGroup]) -> FittingTable:
    """One line per group: what it is, and how long each tier serves a value."""
    table = FittingTable(
        "group", "kind", "features", "profile", "local s", "remote s", "stale s", "writes", "reads"
    )
    for group in groups:
        table.add_row(
            escape(group.group_name),
            "timeline" if group.is_timeline else "record",
            str(len(group.features)),
            *_policy_cells(group.policy),
        )
    return table


def features_table(features: Iterable[dict[str, Any]]) -> FittingTable:
    """One line per feature, in the order of their ids."""
    columns = ("id", "feature", "type", "state", "max bytes", "default", "description")
    table = FittingTable(*columns, prose=("description",))
    for feature in features:
        table.add_row(
            str(feature["id"]),
            escape(feature["name"]),
            type_of(feature),
            feature.get("state", "Active"),
            str(feature.get("maxBytes", 8192)),
            escape(visible(feature.get("default", ""))),
            escape(visible(feature.get("description", ""))),
        )
    return table


def type_of(feature: dict[str, Any]) -> str:
    """Return ``List<String>``, ``Vector(128)`` or the plain type."""
    if feature.get("elementType"):
        return f"{feature['type']}<{feature['elementType']}>"
    if feature.get("dimensions"):
        return f"{feature['type']}({feature['dimensions']})"
    return str(feature["type"])


def tier(policy: TierPolicy) -> str:
    """Return ``5/60/5`` for a tier that serves, else its state."""
    ttls = f"{policy.soft_ttl_seconds}/{policy.hard_ttl_seconds}/{policy.negative_ttl_seconds}"
    if not policy.is_filled:
        return "[dim]off[/]"
    return ttls if policy.is_served else f"{ttls} ({policy.state})"


def _policy_cells(policy: CachePolicy) -> tuple[str, ...]:
    return (
        policy.profile,
        tier(policy.local),
        tier(policy.remote),
        str(policy.stale_if_error_seconds),
        policy.write_policy,
        policy.read_consistency,
    )
