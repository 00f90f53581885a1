"""What journeys run beside Pannier, as images that need no registry: Redis, a DynamoDB, a pod's pause.

The programs are those that the tests use (`tools/bootstrap.py`), with the libraries that they are linked to.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import debian
import image_build
import node_build
from image_archive import Image, write_archive
from steps import BIN, StepFailed

NAMES: Final = ("pause", "redis", "dynoxide")
_NOBODY: Final = "65534:65534"


class Found(NamedTuple):
    """A program of this machine, and where else its libraries are (as LD_LIBRARY_PATH has it)."""

    path: Path
    libraries: str = ""


def build(output: Path) -> list[Image]:
    """Build all of them; raises `StepFailed`."""
    return [
        _image("pause", Found(node_build.NODE.place / "pause"), [], output),
        _image("redis", _redis(), ["--protected-mode", "no"], output),
        _image("dynoxide", Found(BIN / "dynoxide"), ["serve", "--host", "0.0.0.0", "--port", "8000"], output),  # noqa: S104 (a pod's own address)
    ]


def reference(name: str) -> str:
    """What a pod calls an image by."""
    return f"localhost/pannier-e2e-{name}:latest"


def _image(name: str, program: Found, arguments: Sequence[str], output: Path) -> Image:
    with tempfile.TemporaryDirectory(prefix="pannier-image-") as scratch:
        root = Path(scratch) / "root"
        programs = root / "usr/local/bin"
        programs.mkdir(parents=True)
        shutil.copy2(program.path, programs / name)
        image_build.put_libraries(root, program.libraries)
        (root / "data").mkdir()
        (root / "data").chmod(0o1777)
        settings = {
            "User": _NOBODY,
            "Entrypoint": [f"/usr/local/bin/{name}", *arguments],
            "WorkingDir": "/data",
        }
        return write_archive(root, output / f"{name}.tar", reference(name), settings)


def _redis() -> Found:
    """Redis itself, where what is on PATH may be our script that starts it with its libraries."""
    found = debian.REDIS.found()
    if found is None:
        raise StepFailed("Redis is missing; `make test-tools` installs it.")
    if Path(found).parent != BIN:
        return Found(Path(found).resolve())
    return Found(next(debian.PACKAGES.glob(debian.REDIS.file)).resolve(), debian.libraries())


def main() -> None:
    """Build them with Pannier's own, and say what was built."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", type=Path, required=True)
    output = parser.parse_args().output
    for image in (*build(output), image_build.build("operator", output)):
        print(f"{image.archive.name}  {image.archive.stat().st_size >> 20} MiB  {image.digest}", flush=True)


if __name__ == "__main__":
    main()
