"""What ``/v1/groups`` says of a group: its part of the catalog, in the words of the FeatureGroup manifest."""

from __future__ import annotations

from typing import Any

import msgspec

from pannier_sidecar.plan import GroupPlan, ReadPlan


def group_document(plan: GroupPlan) -> dict[str, Any]:
    """Everything a client may want to know of one group, with the policy resolved."""
    document = _spelled_out(plan.group)
    document.pop("groupName")
    return {"group": plan.name, "kind": "timeline" if plan.is_timeline else "record", **document}


def _spelled_out(value: Any) -> Any:
    """Turn structs into JSON, defaults included: clients should not have to know them."""
    if isinstance(value, msgspec.Struct):
        fields = ((f.encode_name, getattr(value, f.name)) for f in msgspec.structs.fields(value))
        return {name: _spelled_out(held) for name, held in fields if held is not None}
    if isinstance(value, tuple):
        return [_spelled_out(item) for item in value]
    return value


def group_summary(plan: GroupPlan) -> dict[str, Any]:
    """One line of the list of groups."""
    group = plan.group
    return {
        "group": plan.name,
        "kind": "timeline" if plan.is_timeline else "record",
        "namespace": group.namespace,
        "resource": group.resource,
        "generation": group.generation,
        "entity": group.key.entity,
        "features": len(plan.served),
        "access": group.access,
        "profile": plan.policy.profile,
    }


def groups_document(plan: ReadPlan) -> dict[str, Any]:
    """All groups by name, and the revision of the catalog they come from."""
    return {
        "revision": plan.revision,
        "groups": [group_summary(plan.groups[name]) for name in sorted(plan.groups)],
    }
