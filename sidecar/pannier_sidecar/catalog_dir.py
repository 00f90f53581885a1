"""The mounted catalog: a projected ConfigMap directory, looked at again and again.

The kubelet swaps such a volume whole by moving the symlink ``..data``; it is resolved once per look, so
that all files read belong together. Taken are higher revisions only. A group that this release cannot use
stays at its own last good version while the others follow; files that do not fit together change nothing
at all. What becomes of a catalog is the business of ``adopt``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import structlog

from pannier.catalog import Catalog
from pannier.catalog_rendering import MANIFEST, ParsedCatalog, RejectedGroup, parse, parse_manifest
from pannier.errors import Problem, SpecInvalid
from pannier_sidecar.on_demand_plan import server_plan

_LINK: Final = "..data"
_log = structlog.get_logger(__name__)


def current_state(directory: Path) -> Path:
    """Resolve the folder that holds the files as they belong together now."""
    link = directory / _LINK
    return directory / link.readlink() if link.is_symlink() else directory


def read_state(state: Path) -> dict[str, bytes]:
    """Read all files of one state; `OSError` where the kubelet removed it meanwhile: look again."""
    return {
        file.name: file.read_bytes() for file in state.iterdir() if file.suffix == ".json" and file.is_file()
    }


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


class CatalogDirectory:
    """Follows one directory while its block is entered; ``adopt`` gets every catalog that is to be served."""

    def __init__(
        self,
        directory: Path,
        adopt: Callable[[Catalog], None],
        *,
        interval_seconds: float = 1.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._directory = directory
        self._adopt = adopt
        self._interval_seconds = interval_seconds
        self._sleep = sleep
        self._task: asyncio.Task[None] | None = None
        self._seen: bytes | None = None
        self._rejected: tuple[Problem, ...] = ()
        self.catalog: Catalog | None = None
        """What is served."""
        self.problems: tuple[Problem, ...] = ()
        """Why something mounted is not served; empty while all is well."""

    def look(self) -> bool:
        """Look once; True if a new catalog was adopted. Never raises for what it finds in the directory."""
        try:
            state = current_state(self._directory)
            if self._seen is not None and (state / MANIFEST).read_bytes() == self._seen:
                self._complain(self._rejected)
                return False
            self._take(read_state(state))
        except SpecInvalid as invalid:
            self._complain(invalid.problems)
        except OSError as error:
            message = f"{error.filename} cannot be read: {error.strerror or error}"
            self._complain((Problem("catalog", "CatalogUnreadable", message),))
        except Exception as error:  # noqa: BLE001 - logged whole: one that trips our own code ends nothing
            message = f"trips this release: {type(error).__name__}; the log holds the cause"
            problem = Problem("catalog", "CatalogNotAdopted", message)
            if problem not in self.problems:
                _log.exception("catalog_not_adopted")
            self._complain((problem,))
        else:
            return True
        return False

    def _take(self, files: dict[str, bytes]) -> None:
        revision = parse_manifest(files).revision
        if self.catalog is not None and revision <= self.catalog.revision:
            message = f"revision {revision} is not above {self.catalog.revision}, which is served"
            raise SpecInvalid([Problem("catalog", "CatalogOlder", message)])
        parsed = reject_uncallable(parse(files))
        catalog = keep_last_good(parsed, self.catalog)
        self._adopt(catalog)
        self.catalog, self._seen = catalog, files[MANIFEST]
        self._rejected = tuple(rejected.problem for rejected in parsed.rejected)
        self._complain(self._rejected)

    def _complain(self, problems: tuple[Problem, ...]) -> None:
        """Log what is new; a problem that stays is said once."""
        for problem in problems:
            if problem not in self.problems:
                _log.warning("catalog_problem", reason=problem.reason, problem=str(problem))
        self.problems = problems

    async def __aenter__(self) -> Self:
        self.look()
        self._task = asyncio.create_task(self._follow(), name="catalog directory")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _follow(self) -> None:
        while True:
            await self._sleep(self._interval_seconds)
            self.look()

    def __repr__(self) -> str:
        revision = self.catalog.revision if self.catalog else None
        return f"<CatalogDirectory {self._directory} revision {revision}, {len(self.problems)} problems>"
