"""Which catalog is served, whatever way it came: mounted, or heard from the operator.

Taken are higher revisions only, from any source. A group that this release cannot use stays at its own last
good version while the others follow; files that do not fit together change nothing at all. What becomes of a
catalog is the business of ``adopt``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import structlog

from pannier.catalog import Catalog
from pannier.catalog_rendering import ParsedCatalog, RejectedGroup, parse, parse_manifest
from pannier.errors import Problem, SpecInvalid
from pannier_sidecar.on_demand_plan import server_plan

_log: Final = structlog.get_logger(__name__)


def keep_last_good(parsed: ParsedCatalog, previous: Catalog | None) -> Catalog:
    """Fill in the groups that cannot be used with what was served of them before, if anything was."""
    before = {group.group_name: group for group in previous.groups} if previous else {}
    kept = tuple(before[r.group_name] for r in parsed.rejected if r.group_name in before)
    return Catalog(revision=parsed.catalog.revision, groups=parsed.catalog.groups + kept)


def reject_uncallable(parsed: ParsedCatalog) -> ParsedCatalog:
    """Reject the groups whose feature server this release cannot call: what the contract does not look at."""
    usable, rejected = [], list(parsed.rejected)
    for group in parsed.catalog.groups:
        try:
            server_plan(group)
        except SpecInvalid as invalid:
            rejected.append(RejectedGroup(group.group_name, invalid.problems[0]))
        else:
            usable.append(group)
    return ParsedCatalog(Catalog(revision=parsed.catalog.revision, groups=tuple(usable)), tuple(rejected))


class CatalogIntake:
    """What is served, and what was wrong with what should be."""

    def __init__(self, adopt: Callable[[Catalog], None]) -> None:
        self._adopt = adopt
        self._faults: dict[str, tuple[Problem, ...]] = {}
        self._given: set[str] = set()
        """Sources that something was served of."""
        self.catalog: Catalog | None = None
        """What is served."""
        self.rejected: tuple[RejectedGroup, ...] = ()
        """Groups of it that stay as they were, or are not served."""
        self.source = ""
        """Where it came from."""

    @property
    def revision(self) -> int:
        """Of what is served; 0 = nothing is."""
        return self.catalog.revision if self.catalog is not None else 0

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Why something that was published is not served; empty while all is well."""
        found = [rejected.problem for rejected in self.rejected]
        for source, faults in self._faults.items():
            found += [problem for problem in faults if not self._is_early(source, problem)]
        return tuple(found)

    def _is_early(self, source: str, problem: Problem) -> bool:
        """Whether a source is only later than another: a kubelet mounts a first catalog after a minute."""
        return problem.reason == "CatalogMissing" and self.catalog is not None and source not in self._given

    def _take(self, files: Mapping[str, bytes], source: str) -> None:
        """Serve these files; raises `SpecInvalid` where they are not above what is served, or unusable.

        What ``adopt`` raises is passed on, and nothing has changed then.
        """
        revision = parse_manifest(files).revision
        if revision <= self.revision:
            message = f"revision {revision} is not above {self.revision}, which is served"
            raise SpecInvalid([Problem("catalog", "CatalogOlder", message)])
        parsed = reject_uncallable(parse(files))
        catalog = keep_last_good(parsed, self.catalog)
        self._adopt(catalog)
        for rejected in parsed.rejected:
            if rejected not in self.rejected:
                _tell(rejected.problem)
        self.catalog, self.rejected, self.source = catalog, parsed.rejected, source

    def attempt(self, files: Mapping[str, bytes], source: str) -> bool:
        """Serve these files; what is wrong becomes a problem of the source. Says whether they are served."""
        try:
            self._take(files, source)
        except SpecInvalid as invalid:
            self.complain(source, invalid.problems)
        except Exception as error:  # noqa: BLE001 - logged whole: one that trips our own code ends nothing
            message = f"trips this release: {type(error).__name__}; the log holds the cause"
            problem = Problem("catalog", "CatalogNotAdopted", message)
            if problem not in self._faults.get(source, ()):
                _log.exception("catalog_not_adopted")
            self.complain(source, (problem,))
        else:
            self._given.add(source)
            self.complain(source, ())
            return True
        return False

    def complain(self, source: str, problems: tuple[Problem, ...]) -> None:
        """Say what is wrong with a source now; a problem that stays is logged once."""
        for problem in problems:
            if problem not in self._faults.get(source, ()):
                _tell(problem)
        self._faults[source] = problems

    def __repr__(self) -> str:
        return f"<CatalogIntake revision {self.revision}, {len(self.problems)} problems>"


def _tell(problem: Problem) -> None:
    _log.warning("catalog_problem", reason=problem.reason, problem=str(problem))
