"""The mounted catalog: a projected ConfigMap directory, looked at again and again.

The kubelet swaps such a volume whole by moving the symlink ``..data``; it is resolved once per look, so
that all files read belong together. Which catalogs are served is for `pannier_sidecar.catalog_intake` to say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from pannier.catalog_rendering import MANIFEST, parse_manifest
from pannier.errors import Problem, SpecInvalid
from pannier_sidecar.catalog_intake import CatalogIntake
from pannier_sidecar.owned_tasks import OwnedTasks

SOURCE: Final = "directory"
_LINK: Final = "..data"


def current_state(directory: Path) -> Path:
    """Resolve the folder that holds the files as they belong together now."""
    link = directory / _LINK
    return directory / link.readlink() if link.is_symlink() else directory


def read_state(state: Path) -> dict[str, bytes]:
    """Read all files of one state; `OSError` where the kubelet removed it meanwhile: look again."""
    return {
        file.name: file.read_bytes() for file in state.iterdir() if file.suffix == ".json" and file.is_file()
    }


class CatalogDirectory:
    """Follows one directory while its block is entered."""

    def __init__(
        self,
        directory: Path,
        intake: CatalogIntake,
        *,
        interval_seconds: float = 1.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._directory = directory
        self.intake = intake
        self._interval_seconds = interval_seconds
        self._sleep = sleep
        self._tasks = OwnedTasks("catalog directory")
        self._seen: bytes | None = None
        self._revision = 0
        """The highest that was mounted."""

    def look(self) -> bool:
        """Look once; True if a new catalog was adopted. Never raises for what it finds in the directory."""
        try:
            state = current_state(self._directory)
            if self._seen is not None and (state / MANIFEST).read_bytes() == self._seen:
                self.intake.complain(SOURCE, ())
                return False
            files = read_state(state)
            if self._is_overtaken(files):
                self._note(files)
                self.intake.complain(SOURCE, ())
                return False
        except SpecInvalid as invalid:
            self.intake.complain(SOURCE, invalid.problems)
            return False
        except OSError as error:
            message = f"{error.filename} cannot be read: {error.strerror or error}"
            self.intake.complain(SOURCE, (Problem("catalog", "CatalogUnreadable", message),))
            return False
        taken = self.intake.attempt(files, SOURCE)
        if taken:
            self._note(files)
        return taken

    def _is_overtaken(self, files: dict[str, bytes]) -> bool:
        """Whether it is news to this directory only: a kubelet takes a minute, the operator no second."""
        revision = parse_manifest(files).revision
        return self._revision < revision <= self.intake.revision and self.intake.source != SOURCE

    def _note(self, files: dict[str, bytes]) -> None:
        self._seen, self._revision = files[MANIFEST], parse_manifest(files).revision

    async def __aenter__(self) -> Self:
        self.look()
        await self._tasks.__aenter__()
        self._tasks.start(self._follow())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._tasks.__aexit__(kind, error, trace)

    async def _follow(self) -> None:
        while True:
            await self._sleep(self._interval_seconds)
            self.look()

    def __repr__(self) -> str:
        return f"<CatalogDirectory {self._directory} revision {self._revision}>"
