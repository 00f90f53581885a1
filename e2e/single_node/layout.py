"""Where a node has its files, programs and addresses. Values only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

ADDRESS: Final = "172.31.250.2"
"""The node's own, in a network of its own: several nodes on one machine may have the same."""
NETWORK: Final = "172.31.250.0/30"
PODS: Final = "10.244.0.0/24"
SERVICES: Final = "10.96.0.0/16"
API_SERVICE: Final = "10.96.0.1"
API_PORT: Final = 6443
PREFIX: Final = "pannier-e2e-"
"""Of every name that a node has outside of its own namespaces: cgroups and folders."""


def name_of_a_node(owner: int) -> str:
    """Name the node of a process."""
    return f"{PREFIX}{owner}"


@dataclass(frozen=True)
class Programs:
    """Folders that hold the programs of a node."""

    control_plane: Path
    node: Path
    dns: Path
    machine: Path
    """runc and nft, where the machine has none itself."""

    @property
    def path(self) -> str:
        """The node's PATH, without the machine's."""
        return ":".join(map(str, (self.node, self.control_plane, self.dns, self.machine)))


@dataclass(frozen=True)
class Layout:
    """One node: its name, its folder, its programs and the images that are there from the start."""

    name: str
    folder: Path
    programs: Programs
    images: Sequence[Path]

    @property
    def keys(self) -> Path:
        """Folder of certificates and keys."""
        return self.folder / "keys"

    @property
    def settings(self) -> Path:
        """Folder of the parts' configuration."""
        return self.folder / "settings"

    @property
    def logs(self) -> Path:
        """Folder of the parts' output."""
        return self.folder / "log"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's, good in the node's network only."""
        return self.folder / "admin.kubeconfig"

    @property
    def images_imported(self) -> Path:
        """A file that is there once the images are."""
        return self.folder / "images-imported"

    def write(self) -> Path:
        """Write it for the node's first process; gives the file."""
        document = {
            "name": self.name,
            "folder": str(self.folder),
            "programs": {name: str(folder) for name, folder in vars(self.programs).items()},
            "images": [str(image) for image in self.images],
        }
        file = self.folder / "layout.json"
        file.write_text(json.dumps(document, indent=1))
        return file

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read what `write` wrote."""
        document = json.loads(file.read_text())
        programs = Programs(**{name: Path(folder) for name, folder in document["programs"].items()})
        images = [Path(image) for image in document["images"]]
        return cls(document["name"], Path(document["folder"]), programs, images)
