"""What came of publishing a group -> the finding of ConfigPublished, and ``config`` of status. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pannier.errors import Problem
from pannier_operator.planning.findings import Finding


@dataclass(frozen=True, slots=True)
class Written:
    """What came of bringing one namespace up to date for a group."""

    namespace: str
    revision: int = 0
    winner: str | None = None
    """Another group that has the groupName there."""
    fault: str | None = None
    namespace_is_missing: bool = False
    input_fault: Problem | None = None
    """Why sidecars there cannot read what the group is computed from."""

    @property
    def has_failed(self) -> bool:
        """Whether trying again may help; a namespace that is not there is nobody's outage."""
        return self.fault is not None and not self.namespace_is_missing


def publication(written: Sequence[Written]) -> Finding:
    """Say whether every namespace has the group; the first is its own.

    A consumer's namespace that is not there is told and is nobody's outage.
    """
    for one in written:
        if one.winner is not None:
            message = f"in namespace {one.namespace} the groupName is {one.winner}'s"
            return Finding("False", "GroupNameTaken", message)
    for one in written:
        if one.input_fault is not None:
            message = f"its rows are unknown in namespace {one.namespace}: inputs {one.input_fault.message}"
            return Finding("False", one.input_fault.reason, message)
    missing = [one.namespace for one in written if one.namespace_is_missing]
    failed = [one for one in written if one.has_failed]
    if failed:
        message = "; ".join(f"{one.namespace}: {one.fault}" for one in failed)
        return Finding("False", "PublishFailed", message)
    if missing:
        message = f"these consumers have no namespace: {', '.join(missing)}"
        return Finding("True", "NamespaceMissing", message)
    return Finding(
        "True", "Published", f"in {len(written)} {'namespace' if len(written) == 1 else 'namespaces'}"
    )


def config_facts(written: Sequence[Written], digest: str, previous: Mapping[str, Any]) -> dict[str, Any]:
    """Make ``config`` of status: the revision is the first that held this content."""
    before = previous.get("config") or {}
    own = written[0]
    known = before.get("revision")
    is_same = before.get("hash") == digest and isinstance(known, int) and known <= own.revision
    reached = sum(one.fault is None and one.winner is None for one in written)
    return {"revision": known if is_same else own.revision, "hash": digest, "namespaces": reached}
