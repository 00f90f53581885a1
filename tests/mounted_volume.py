"""A projected volume as the kubelet keeps it, for sidecars that follow a mounted catalog."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Mapping
from pathlib import Path


class Volume:
    """A projected volume: states in folders of their own, and the symlink ``..data`` moved in one rename."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._states = itertools.count()

    def project(self, files: Mapping[str, str]) -> None:
        """Swap the whole content, then remove the state before."""
        link = self.path / "..data"
        before = link.resolve() if link.exists() else None
        state = self.path / f"..state_{next(self._states)}"
        state.mkdir()
        for name, text in files.items():
            (state / name).write_text(text, encoding="utf-8")
            visible = self.path / name
            if not visible.is_symlink():
                visible.symlink_to(f"..data/{name}")
        pending = self.path / "..data_tmp"
        pending.symlink_to(state.name)
        pending.rename(link)
        if before is not None:
            shutil.rmtree(before)
