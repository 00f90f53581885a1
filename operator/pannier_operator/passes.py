"""One pass over a sound group that stays: what was seen of it, and what follows from that alone. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pannier.spec import FeatureGroup
from pannier_operator.aws.call_budget import Urgency
from pannier_operator.catalogs.catalog_content import Entry, entry_of
from pannier_operator.catalogs.group_index import SeenGroup
from pannier_operator.farewells import finalizers_of
from pannier_operator.planning.deletion import FINALIZER, needs_finalizer
from pannier_operator.planning.findings import Finding
from pannier_operator.reporting.status_document import told_before


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass."""

    seen: SeenGroup
    document: Mapping[str, Any]
    group: FeatureGroup
    entry: Entry
    urgency: Urgency

    @property
    def status(self) -> Mapping[str, Any]:
        """Status as last seen."""
        status: Mapping[str, Any] = self.document.get("status") or {}
        return status

    @property
    def told(self) -> Mapping[str, Finding]:
        """What conditions said, of whichever version."""
        return told_before(self.document)

    def told_of_this(self, kind: str) -> Finding | None:
        """What a condition said of this very version."""
        return self.told.get(kind) if self.status.get("observedGeneration") == self.seen.generation else None

    @property
    def was_accepted(self) -> bool:
        """Whether this feature list was accepted before: its claim is held, or it needs none."""
        schema = self.status.get("schema") or {}
        stored = self.group.spec.storage.mode != "None"
        return not stored or schema.get("hash") == self.entry.group.schema_hash

    @property
    def is_served_as_it_is(self) -> bool:
        """Whether nothing has to be done before sidecars are told of it."""
        spec = self.group.spec
        is_settled = needs_finalizer(spec) == (FINALIZER in finalizers_of(self.document))
        return spec.management_policy == "Full" and is_settled and self.was_accepted


def a_pass(
    seen: SeenGroup, document: Mapping[str, Any], group: FeatureGroup, urgency: Urgency, table_prefix: str
) -> Pass:
    """Begin a pass over an object as it was seen."""
    created = document["metadata"]["creationTimestamp"]
    entry = entry_of(group, created=created, uid=seen.uid, table_prefix=table_prefix)
    return Pass(seen, document, group, entry, urgency)
