"""The images of sidecar and operator without a registry: OCI archives, the same bytes for the same checkout.

    .venv/bin/python tools/image_build.py --output dist/images [--target sidecar|operator]

The content is that of `images/Dockerfile`: the hashed packages of `requirements/image-*.txt` and this
checkout's wheel, over a Python. There the Python is a base image; here it is this machine's own, with the
libraries that it and the packages are linked to, and nothing else: no shell, no package manager. ``ctr images
import``, ``docker load`` and ``skopeo`` take the archives.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from image_archive import Image, write_archive
from pip._vendor import certifi
from steps import ROOT, run

TARGETS: Final = ("sidecar", "operator")
USER: Final = 65532
_PYTHON: Final = f"python{sys.version_info.major}.{sys.version_info.minor}"
_LIBRARIES: Final = "lib/x86_64-linux-gnu"
_NOT_NEEDED: Final = frozenset(
    {
        "test",
        "tests",
        "idlelib",
        "tkinter",
        "turtledemo",
        "ensurepip",
        "site-packages",
        "__pycache__",
        "lib2to3",
    }
)
_CERTIFICATES: Final = Path("/etc/ssl/certs/ca-certificates.crt")
_LINKED: Final = re.compile(r"^\s*(\S+)(?: => (\S+))? \(0x", re.MULTILINE)
_ADVICE: Final = "Check that the package registry is reachable, then run make again."
# a thousand classes of Kubernetes' client, which it imports one by one where they are used
_RARELY_IMPORTED: Final = r"/kubernetes/(aio/)?client/(models|api)/|/lib2to3/|bad_"
_ENVIRONMENT: Final = (
    "PATH=/usr/local/bin:/usr/bin",
    "PYTHONPATH=/opt/pannier",
    "PYTHONDONTWRITEBYTECODE=1",
    "PYTHONUNBUFFERED=1",
    f"SSL_CERT_FILE={_CERTIFICATES}",
)
SETTINGS: Final[Mapping[str, Any]] = {
    "User": f"{USER}:{USER}",
    "Env": _ENVIRONMENT,
    "Entrypoint": ["pannier"],
    "WorkingDir": "/",
}

Command = list[str | Path]


def build(target: str, output: Path) -> Image:
    """Build one image; raises `StepFailed`."""
    with tempfile.TemporaryDirectory(prefix="pannier-image-") as scratch:
        root = Path(scratch) / "root"
        _packages(target, root / "opt" / "pannier", Path(scratch))
        _python(root)
        put_libraries(root)
        _compile(root)
        _files(root)
        return write_archive(
            root, output / f"pannier-{target}.tar", f"localhost/pannier-{target}:latest", SETTINGS
        )


def _packages(target: str, where: Path, scratch: Path) -> None:
    """Install what the lock names, and this checkout's wheel, as the Dockerfile does."""
    pip: Command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    install: Command = [*pip, "install", "--no-compile", "--no-deps", "--target", where]
    lock = ROOT / "requirements" / f"image-{target}.txt"
    run(f"Packages of {target}", [*install, "--require-hashes", "-r", lock], advice=_ADVICE)
    wheels = scratch / "wheels"
    wheel: Command = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", wheels, ROOT]
    run("Wheel", wheel, advice="The message above names the file to mend, most likely pyproject.toml.")
    run("Pannier", [*install, "--no-index", *wheels.glob("*.whl")], advice=_ADVICE)
    shutil.rmtree(where / "bin", ignore_errors=True)  # scripts that name this environment's Python
    for record in where.glob("*.dist-info"):
        for name in ("RECORD", "direct_url.json", "INSTALLER", "REQUESTED"):
            (record / name).unlink(missing_ok=True)  # where and when it was installed from


def _python(root: Path) -> None:
    """Put this machine's Python below /usr/local: it finds its library beside itself, wherever that is."""
    library = Path(sysconfig.get_path("stdlib"))
    shutil.copytree(
        library,
        root / "usr/local/lib" / _PYTHON,
        ignore=lambda _folder, names: set(filter(_is_needless, names)),
        symlinks=False,
    )
    for config in (root / "usr/local/lib" / _PYTHON).glob("config-*"):
        shutil.rmtree(config)
    programs = root / "usr/local/bin"
    programs.mkdir(parents=True)
    shutil.copy2(Path(sys.executable).resolve(), programs / _PYTHON)
    (programs / "python3").symlink_to(_PYTHON)


def _compile(root: Path) -> None:
    """Compile every module ahead: a read-only root would have it done at each start, for seconds of a core.

    Named by the source's hash and never compared, so that no time of a file gets in.
    """
    places = (root / "opt" / "pannier", root / "usr/local/lib" / _PYTHON)
    command: Command = [sys.executable, "-I", "-m", "compileall", "-q", "-j", "1"]
    paths: Command = ["-s", root, "-p", "/", "-x", _RARELY_IMPORTED, *places]
    run(
        "Bytecode",
        [*command, "--invalidation-mode", "unchecked-hash", *paths],
        advice="The message above names the module that does not compile.",
        env={"PYTHONHASHSEED": "0"},
    )


def _is_needless(name: str) -> bool:
    """Whether it is for building, for testing or for windows on a screen."""
    return name in _NOT_NEEDED or name.endswith(".a") or name.startswith(("_tkinter", "_test", "_xxtest"))


def put_libraries(root: Path, searched: str = "") -> None:
    """Put in what all is linked to, where the loader looks by itself; ``searched`` comes first here."""
    found: dict[str, Path] = {}
    linked = [path for path in root.rglob("*") if path.suffix == ".so" or ".so." in path.name]
    programs = [path for path in (root / "usr/local/bin").iterdir() if not path.is_symlink()]
    environment = {**os.environ, "LD_LIBRARY_PATH": searched}
    for path in [*programs, *linked]:
        said = subprocess.run(
            ["ldd", path], env=environment, capture_output=True, text=True, check=False
        ).stdout
        for name, where in _LINKED.findall(said):
            source = Path(where or name)
            if source.is_absolute() and not source.is_relative_to(root):
                found[source.name] = source.resolve()
    for name, source in found.items():
        folder = root / ("lib64" if name.startswith("ld-linux") else _LIBRARIES)
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, folder / name)
        (folder / name).chmod(0o755)


def _files(root: Path) -> None:
    """Put in the command, whom to trust, a user without rights, and a place for files that do not last."""
    shutil.copyfile(ROOT / "images" / "pannier", root / "usr/local/bin/pannier")
    (root / "usr/local/bin/pannier").chmod(0o755)
    authorities = _CERTIFICATES if _CERTIFICATES.exists() else Path(certifi.where())
    shutil.copyfile(authorities, _made(root, _CERTIFICATES))
    _made(root, Path("/etc/passwd")).write_text(f"pannier:x:{USER}:{USER}:pannier:/:/none\n")
    _made(root, Path("/etc/group")).write_text(f"pannier:x:{USER}:\n")
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o1777)


def _made(root: Path, path: Path) -> Path:
    inside = root / path.relative_to("/")
    inside.parent.mkdir(parents=True, exist_ok=True)
    return inside


def main() -> None:
    """Build, and say what was built."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", type=Path, default=ROOT / "dist" / "images")
    parser.add_argument("--target", choices=TARGETS, action="append")
    asked = parser.parse_args()
    for target in asked.target or TARGETS:
        image = build(target, asked.output)
        size = image.archive.stat().st_size >> 20
        print(f"{image.archive}  {size} MiB  {image.digest}")


if __name__ == "__main__":
    main()
