"""The images of sidecar and operator without a registry: OCI archives, the same bytes for the same checkout.

    .venv/bin/python tools/image_build.py --output dist/images [--target sidecar|operator]

The content is that of `images/Dockerfile`: the hashed packages of `requirements/image-*.txt` and this
checkout's wheel, over a Python. There the Python is a base image; here it is this machine's own, with the
libraries that it and the packages are linked to, and nothing else: no shell, no package manager. ``ctr images
import``, ``docker load`` and ``skopeo`` take the archives.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import re
import shutil
import stat
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

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
_ENVIRONMENT: Final = (
    "PATH=/usr/local/bin:/usr/bin",
    "PYTHONPATH=/opt/pannier",
    "PYTHONDONTWRITEBYTECODE=1",
    "PYTHONUNBUFFERED=1",
    f"SSL_CERT_FILE={_CERTIFICATES}",
)


Command = list[str | Path]


class Image(NamedTuple):
    """An archive, and what it is called by its content."""

    archive: Path
    digest: str


def build(target: str, output: Path) -> Image:
    """Build one image; raises `StepFailed`."""
    with tempfile.TemporaryDirectory(prefix="pannier-image-") as scratch:
        root = Path(scratch) / "root"
        _packages(target, root / "opt" / "pannier", Path(scratch))
        _python(root)
        _libraries(root)
        _files(root)
        return write_archive(root, output / f"pannier-{target}.tar", f"localhost/pannier-{target}:latest")


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


def _is_needless(name: str) -> bool:
    """Whether it is for building, for testing or for windows on a screen."""
    return name in _NOT_NEEDED or name.endswith(".a") or name.startswith(("_tkinter", "_test", "_xxtest"))


def _libraries(root: Path) -> None:
    """Put in what everything is linked to, where the loader looks by itself."""
    found: dict[str, Path] = {}
    linked = [path for path in root.rglob("*") if path.suffix == ".so" or ".so." in path.name]
    for path in [root / "usr/local/bin" / _PYTHON, *linked]:
        said = subprocess.run(["ldd", path], capture_output=True, text=True, check=False).stdout
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


# -- the archive


def write_archive(root: Path, archive: Path, name: str) -> Image:
    """Write an OCI archive of one layer; the digest is its manifest's."""
    layer = _layer(root)
    parts = {f"blobs/sha256/{_sha256(layer)}": layer}

    def blob(document: Mapping[str, Any], kind: str) -> dict[str, Any]:
        content = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
        parts[f"blobs/sha256/{_sha256(content)}"] = content
        return {"mediaType": kind, "digest": f"sha256:{_sha256(content)}", "size": len(content)}

    oci = "application/vnd.oci.image"
    settings = {"User": f"{USER}:{USER}", "Env": _ENVIRONMENT, "Entrypoint": ["pannier"], "WorkingDir": "/"}
    rootfs = {"type": "layers", "diff_ids": [f"sha256:{_sha256(layer)}"]}
    config = {"architecture": "amd64", "os": "linux", "config": settings, "rootfs": rootfs}
    layers = [{"mediaType": f"{oci}.layer.v1.tar", "digest": f"sha256:{_sha256(layer)}", "size": len(layer)}]
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{oci}.manifest.v1+json",
        "config": blob(config, f"{oci}.config.v1+json"),
        "layers": layers,
    }
    listed = blob(manifest, f"{oci}.manifest.v1+json")
    called = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": "latest"}
    index = {"schemaVersion": 2, "manifests": [{**listed, "annotations": called}]}
    parts["index.json"] = json.dumps(index, sort_keys=True).encode()
    parts["oci-layout"] = b'{"imageLayoutVersion":"1.0.0"}'
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w", format=tarfile.USTAR_FORMAT) as out:
        for path, content in sorted(parts.items()):
            out.addfile(_entry(path, size=len(content)), io.BytesIO(content))
    return Image(archive, listed["digest"])


def _layer(root: Path) -> bytes:
    """Pack a tree: by name, of nobody in particular, of no time, writable by none but root."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as out:
        for path in _walked(root):
            name, mode = str(path.relative_to(root)), path.lstat().st_mode
            if path.is_symlink():
                out.addfile(_entry(name, kind=tarfile.SYMTYPE, target=str(path.readlink())))
            elif path.is_dir():
                sticky = 0o1777 if mode & stat.S_ISVTX else 0o755
                out.addfile(_entry(name, kind=tarfile.DIRTYPE, mode=sticky))
            else:
                content = path.read_bytes()
                runs = 0o755 if mode & 0o111 else 0o644
                out.addfile(_entry(name, size=len(content), mode=runs), io.BytesIO(content))
    return packed.getvalue()


def _walked(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name == "__pycache__":
            continue  # holds times; the first import makes it anew in memory
        yield path
        if path.is_dir() and not path.is_symlink():
            yield from _walked(path)


def _entry(
    name: str, *, size: int = 0, kind: bytes = tarfile.REGTYPE, mode: int = 0o644, target: str = ""
) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.type, entry.mode, entry.linkname = size, kind, mode, target
    return entry


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


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
