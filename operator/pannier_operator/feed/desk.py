"""What a leader answers sidecars from: their catalogs, what they said of themselves, and who they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from pannier.catalog_feed import AUDIENCE
from pannier_operator.catalogs.group_index import Key
from pannier_operator.catalogs.publisher import Publisher
from pannier_operator.clock import Clock
from pannier_operator.feed.news import CatalogRoom
from pannier_operator.feed.reports import SidecarReports
from pannier_operator.feed.served_watch import ServedWatch
from pannier_operator.kube.api_client import KubeApi
from pannier_operator.kube.pods import Pods
from pannier_operator.kube.token_reviews import TokenReviews
from pannier_operator.settings import Settings


class LeadersPart(NamedTuple):
    """What a leader lends."""

    wake: Callable[[Key], None]
    """Has a group's condition Served told anew."""
    is_complete: Callable[[], bool]
    """Whether every catalog is known: until then one that is missing may be there."""


class Desk:
    """The parts of one leader's catalog endpoint; it owns nothing."""

    def __init__(
        self, publisher: Publisher, api: KubeApi, settings: Settings, clock: Clock, lent: LeadersPart
    ) -> None:
        pods = Pods(api, settings.namespaces, "") if settings.count_injected_pods else None
        self._publisher = publisher
        self.room = CatalogRoom(publisher)
        publisher.told = self.room.tell
        self.reports = SidecarReports(clock.monotonic)
        self.watch = ServedWatch(publisher, self.reports, pods, lent.wake, clock)
        self.reviews = TokenReviews(api, AUDIENCE, clock.monotonic)
        self.is_complete = lent.is_complete

    def gauges(self) -> Mapping[str, float]:
        """How many sidecars there are, and how many of them are behind."""
        known = [
            (report.revision, self._publisher.published(namespace).revision)
            for namespace, reports in self.reports.everywhere()
            for report in reports.values()
        ]
        return {
            "pannier_operator_sidecars": len(known),
            "pannier_operator_sidecars_behind": sum(revision < newest for revision, newest in known),
            "pannier_operator_groups_not_served": self.watch.waiting,
        }

    def __repr__(self) -> str:
        return f"<Desk {self.room!r}, {self.reports!r}>"
