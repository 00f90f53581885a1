"""The release before this one, taken out of the history: its CRD and its programs, run as they were."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from tests.control_plane import User
from tests.integration.live_catalogs import PodSidecar
from tests.integration.operator_cluster import OperatorProcess

ROOT = Path(__file__).parents[2]
COMMIT = "970b89f"
"""What closed the operator: its chart could be installed, and its sidecars be injected."""
_PACKAGES = ("contract", "operator", "sidecar", "cli")


class PreviousRelease:
    """Its files in a folder, and what it takes to run them with this environment's packages."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        archive = ("git", "archive", COMMIT, *_PACKAGES, "crds")
        done = subprocess.run(archive, cwd=ROOT, capture_output=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"this checkout has no history back to {COMMIT}: {done.stderr.decode().strip()}")
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as files:
            files.extractall(folder, filter="data")

    @property
    def crd(self) -> str:
        """Its CustomResourceDefinition."""
        return (self.folder / "crds" / "featuregroups.pannier.dev.yaml").read_text()

    def environment(self) -> dict[str, str]:
        """Its packages before this checkout's."""
        path = os.pathsep.join(str(self.folder / package) for package in _PACKAGES)
        return {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}

    def where(self, package: str) -> Path:
        """Where the programs would take a package from."""
        command = [sys.executable, "-c", f"import {package}; print({package}.__file__)"]
        done = subprocess.run(command, env=self.environment(), capture_output=True, text=True, check=True)
        return Path(done.stdout.strip())


class PreviousOperator(OperatorProcess):
    """``pannier operator`` as it was."""

    def __init__(self, release: PreviousRelease, user: User, dynamodb_url: str, **flags: str) -> None:
        super().__init__(user, dynamodb_url, **flags)
        self._release = release

    def command(self) -> list[str]:
        _, *arguments = super().command()
        return [sys.executable, "-m", "pannier_cli", *arguments]

    def environment(self) -> dict[str, str]:
        return self._release.environment()


class PreviousSidecar(PodSidecar):
    """``pannier serve`` as it was: it knows its mounted catalog alone."""

    release: PreviousRelease

    def command(self) -> list[str]:
        _, *arguments = super().command()
        known = [flag for flag in arguments if not flag.startswith("--operator-")]
        return [sys.executable, "-m", "pannier_cli", *known]

    def environment(self) -> dict[str, str]:
        return self.release.environment()
