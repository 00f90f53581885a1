"""One FeatureGroup: observe, plan, at most one mutation, publish, report. The one reconcile function.

Creation, edit, restart, resync and deletion come here alike, and nothing is remembered of which it was. What
was accepted before is published before AWS is asked anything; a new feature list waits for its claim.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import structlog

from pannier.errors import SpecInvalid
from pannier.spec import FeatureGroup
from pannier.spec_parsing import parse_feature_group
from pannier_operator.aws.call_budget import Urgency
from pannier_operator.catalogs.catalog_content import Entry
from pannier_operator.catalogs.group_index import GroupIndex, Key, SeenGroup
from pannier_operator.catalogs.publisher import Publisher
from pannier_operator.errors import KubeFault
from pannier_operator.farewells import Farewells, Leaving, finalizers_of
from pannier_operator.feed.served_watch import ServedWatch
from pannier_operator.group_tables import GroupTables
from pannier_operator.on_demand.server_watch import ServerWatch
from pannier_operator.on_demand.servers import server_of
from pannier_operator.pass_outcomes import decided, paused, refused, standing
from pannier_operator.passes import Pass, a_pass
from pannier_operator.planning.deletion import FINALIZER, needs_finalizer
from pannier_operator.planning.findings import Finding
from pannier_operator.planning.plans import NOT_SEEN
from pannier_operator.reporter import Reporter
from pannier_operator.reporting.outcome import NOT_OBSERVED, Outcome
from pannier_operator.reporting.publication import Written
from pannier_operator.reporting.status_document import remembered_from, told_before
from pannier_operator.work_queue import Done

_log: Final = structlog.stdlib.get_logger(__name__)
_TAKEN_OUT: Final = Finding("False", "Deleting", "taken out of every catalog")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a reconcile works with."""

    index: GroupIndex
    tables: GroupTables
    publisher: Publisher
    farewells: Farewells
    reporter: Reporter
    served: ServedWatch | None
    """None = no sidecar is heard of."""
    servers: ServerWatch
    table_prefix: str


class Reconciler:
    """Reconciles FeatureGroups, one pass at a time each."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def reconcile(self, key: Key, urgency: Urgency) -> Done:
        """Make one pass; what fails on the way to the API server is tried again with backoff."""
        try:
            return await self._reconcile(key, urgency)
        except KubeFault as fault:
            _log.warning("api_server", group=str(key), fault=str(fault))
            return Done(failed=True)

    async def _reconcile(self, key: Key, urgency: Urgency) -> Done:
        seen = self._parts.index.get(key)
        if seen is None:
            self._parts.tables.forget(key)
            if self._parts.served is not None:
                self._parts.served.forget(key)
            self._parts.servers.forget(key)
            await self._parts.publisher.withdraw(key)
            return Done()
        document = seen.document()
        try:
            group = parse_feature_group(document)
        except SpecInvalid as invalid:
            return await self._invalid(seen, document, invalid)
        if seen.deleting:
            return await self._farewell(seen, document, group)
        one = a_pass(seen, document, group, urgency, self._parts.table_prefix)
        refusal = self._parts.servers.refusal(key, one.entry.group)
        if refusal is not None:
            return await self._refused(one, refusal)
        if group.spec.management_policy == "Paused":
            return await self._paused(one)
        return await self._converge(one)

    def publish_ahead(self, seen: SeenGroup) -> None:
        """Have an edit of what was accepted before published, and no more: `reconcile` comes to the rest.

        Status is written for every edit as well. Where the API server is slow, edits would wait for that.
        """
        document = seen.document()
        if seen.deleting or not document.get("status"):
            return
        with contextlib.suppress(SpecInvalid):
            group = parse_feature_group(document)
            one = a_pass(seen, document, group, "edit", self._parts.table_prefix)
            if self._parts.servers.refusal(seen.key, one.entry.group) is not None:
                return
            if one.is_served_as_it_is and not self._parts.publisher.is_current(one.entry):
                self._parts.publisher.announce(one.entry)

    async def tell_served(self, key: Key) -> Done:
        """Say anew whether a group is served; whatever else there is to say, a whole pass says."""
        seen, watch = self._parts.index.get(key), self._parts.served
        if seen is None or seen.deleting or watch is None:
            return Done()
        document = seen.document()
        status, told = document.get("status") or {}, told_before(document)
        if status.get("observedGeneration") != seen.generation or not _is_published(told):
            return Done()  # the pass over this edit comes, or came to no publication
        try:
            finding = await watch.judge(key, document["spec"]["groupName"], told.get("Served"))
            await self._parts.reporter.report_one(seen, document, "Served", finding)
        except KubeFault as fault:
            _log.warning("api_server", group=str(key), fault=str(fault))
            return Done(failed=True)
        return Done()

    # -- groups that stay

    async def _converge(self, one: Pass) -> Done:
        acts = one.group.spec.management_policy == "Full"
        if acts and await self._settle_finalizer(one):
            return Done(again_seconds=0.0)
        written: list[Written] | None = None
        if acts and one.was_accepted:
            written = await self._publish(one.entry)
        kept = await self._parts.tables.keep(
            one.group,
            one.seen,
            remembered_from(one.status, _annotations(one.document)),
            one.urgency,
            act_too=acts,
        )
        if acts and written is None and kept.plan.claim_held:
            written = await self._publish(one.entry)
        stands = self._parts.publisher.holds(one.seen.key)
        if kept.is_news or not one.status.get("conditions"):
            found = decided(one, kept, written, stands=stands)
        else:
            found = standing(one, written, stands=stands)
        served = await self._served(one, found.published)
        outcome = replace(found, served=served, on_demand=self._on_demand(one))
        await self._parts.reporter.report(one.seen, one.document, outcome)
        unpublished = any(one.has_failed for one in written or ())
        return Done(kept.again_seconds, failed=kept.failed or unpublished)

    async def _settle_finalizer(self, one: Pass) -> bool:
        """Have the finalizer exactly where rows need it; says whether that was changed."""
        found = finalizers_of(one.document)
        if needs_finalizer(one.group.spec) == (FINALIZER in found):
            return False
        wanted = [name for name in found if name != FINALIZER]
        if FINALIZER not in found:
            wanted.append(FINALIZER)
        await self._parts.farewells.set_finalizers(one.seen, wanted)
        return True

    async def _publish(self, entry: Entry) -> list[Written]:
        publisher = self._parts.publisher
        return publisher.written(entry) if publisher.is_current(entry) else await publisher.publish(entry)

    async def _served(self, one: Pass, published: Finding) -> Finding:
        watch = self._parts.served
        if watch is None:
            return NOT_OBSERVED
        if not published.holds:
            return Finding("Unknown", published.reason, published.message)
        return await watch.judge(one.seen.key, one.entry.group.group_name, one.told_of_this("Served"))

    def _on_demand(self, one: Pass) -> Finding | None:
        server = server_of(one.entry.group)
        if server is None:
            return None
        return self._parts.servers.finding(one.seen.key, server, one.told_of_this("OnDemandReady"))

    # -- groups that are left alone

    async def _paused(self, one: Pass) -> Done:
        self._parts.servers.forget(one.seen.key)
        outcome = paused(one, stands=self._parts.publisher.holds(one.seen.key))
        await self._parts.reporter.report(one.seen, one.document, outcome)
        return Done()

    async def _refused(self, one: Pass, refusal: Finding) -> Done:
        """Take a group out of every catalog whose feature server nobody may call for it."""
        if self._parts.served is not None:
            self._parts.served.forget(one.seen.key)
        is_out = await self._parts.publisher.withdraw(one.seen.key, one.entry.namespaces)
        await self._parts.reporter.report(one.seen, one.document, refused(one, refusal))
        return Done(failed=not is_out)

    async def _invalid(self, seen: SeenGroup, document: Mapping[str, Any], invalid: SpecInvalid) -> Done:
        """Keep what was accepted before; the API server's rules let none of this pass, an older CRD may."""
        if seen.deleting:
            return await self._farewell(seen, document, None)
        self._parts.servers.forget(seen.key)
        finding = Finding("False", "SpecInvalid", str(invalid))
        stands = self._parts.publisher.holds(seen.key)
        published = Finding("False", "NotAccepted", "the last accepted version stands" if stands else "")
        outcome = Outcome(generation=seen.generation, schema=finding, published=published, stalled=True)
        await self._parts.reporter.report(seen, document, outcome)
        return Done()

    # -- groups that go

    async def _farewell(
        self, seen: SeenGroup, document: Mapping[str, Any], group: FeatureGroup | None
    ) -> Done:
        self._parts.servers.forget(seen.key)
        table = self._parts.tables.wanted(group, seen.uid) if group else None
        farewell = await self._parts.farewells.step(Leaving(seen, document, group, table))
        if farewell.done:
            return Done()
        told = told_before(document)
        outcome = Outcome(
            generation=seen.generation,
            schema=told.get("SchemaAccepted", NOT_SEEN),
            table=farewell.finding,
            ttl=told.get("TTLApplied", NOT_SEEN),
            published=_TAKEN_OUT,
            served=_TAKEN_OUT,
            farewell=farewell.finding,
            under_way=not farewell.stalled,
            stalled=farewell.stalled,
        )
        await self._parts.reporter.report(seen, document, outcome)
        return Done(farewell.again_seconds)

    def __repr__(self) -> str:
        return f"<Reconciler over {self._parts.index!r}>"


def _is_published(told: Mapping[str, Finding]) -> bool:
    published = told.get("ConfigPublished")
    return published is not None and published.holds


def _annotations(document: Mapping[str, Any]) -> Mapping[str, str]:
    annotations: Mapping[str, str] = document["metadata"].get("annotations") or {}
    return annotations
