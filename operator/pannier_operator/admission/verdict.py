"""What a request asks for, and who is there already -> allowed, or one reason and a sentence. Pure.

No rule of its own: claims are judged by `planning.claims.conflict`, catalogs by `visible_to` and
`publication`, as on every pass of the reconciler. Only who holds something already counts, so nothing is
refused here that the operator would accept.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from pannier.errors import Problem
from pannier.inputs import input_graph
from pannier_operator.admission.asking import Ask, Neighbour
from pannier_operator.catalogs.catalog_content import Entry, visible_to
from pannier_operator.catalogs.scope import not_published_in
from pannier_operator.planning.claims import claim_of, conflict
from pannier_operator.planning.findings import Finding
from pannier_operator.reporting.publication import Written, publication


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known around a request."""

    cluster_id: str
    neighbours: tuple[Neighbour, ...] = ()
    """Other groups of the same groupName."""
    readable: tuple[Entry, ...] = ()
    """All other groups, where the request asks for inputs anew."""
    scope: tuple[str, ...] = ()
    """Namespaces that the operator publishes in; empty = all."""
    missing: frozenset[str] = field(default=frozenset())
    """Namespaces asked for that are known not to be there."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to one request."""

    refusal: Finding | Problem | None = None
    warnings: tuple[str, ...] = ()
    patch: tuple[dict[str, Any], ...] = ()
    """JSON patch (RFC 6902) of the object."""


ALLOWED: Final = Verdict()
_CLOSED: Final = frozenset({"InputCycle", "InputsTooDeep"})
"""Faults of inputs that no group to come can mend."""


def decide(ask: Ask, known: Known, now: datetime) -> Verdict:
    """Decide about one request."""
    published = publication([_written(namespace, ask, known) for namespace in ask.namespaces])
    refusal = _claim_refusal(ask, known, now) or (published if published.status == "False" else None)
    refusal = refusal or _input_refusal(ask, known)
    if refusal is not None:
        return Verdict(refusal)
    if published.reason == "NamespaceMissing":
        return Verdict(warnings=(f"{published.reason}: {published.message}",))
    return ALLOWED


def _claim_refusal(ask: Ask, known: Known, now: datetime) -> Finding | None:
    """Say who holds the groupName in the shared table."""
    wanted = claim_of(ask.group, cluster_id=known.cluster_id, uid=ask.uid, ownership="Claimed")
    for other in known.neighbours:
        storage = other.group.spec.storage
        if ask.shared_table is None or storage.mode != "Shared" or storage.table_name != ask.shared_table:
            continue
        held = claim_of(other.group, cluster_id=known.cluster_id, uid=other.uid, ownership="Claimed")
        refusal = conflict(held, wanted, now) if other.holds_claim else None
        if refusal is not None:
            return refusal
    return None


def _input_refusal(ask: Ask, known: Known) -> Finding | None:
    """Say that its inputs would lead round in a circle; a group that is not there yet may come."""
    for namespace in ask.entry.namespaces if ask.reads_anew else ():
        groups = visible_to(namespace, [*known.readable, ask.entry]).groups
        fault = input_graph(groups).faults.get(ask.group.spec.group_name)
        if fault is not None and fault.reason in _CLOSED:
            return publication([Written(namespace, input_fault=fault)])
    return None


def _written(namespace: str, ask: Ask, known: Known) -> Written:
    """Foresee what would come of publishing in one namespace."""
    there = [other.entry for other in known.neighbours if other.is_published]
    winner = visible_to(namespace, [*there, ask.entry]).losers.get(ask.entry.key)
    is_missing = namespace in known.missing
    fault = not_published_in(namespace, known.scope) or ("it does not exist" if is_missing else None)
    return Written(
        namespace, winner=str(winner) if winner else None, fault=fault, namespace_is_missing=is_missing
    )
