"""A folder as an OCI archive of one layer, which needs no registry: the same bytes for the same files."""

from __future__ import annotations

import hashlib
import io
import json
import stat
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple


class Image(NamedTuple):
    """An archive, and what it is called by its content."""

    archive: Path
    digest: str


def write_archive(root: Path, archive: Path, name: str, settings: Mapping[str, Any]) -> Image:
    """Write an OCI archive of one layer; the digest is its manifest's.

    ``settings`` are the image configuration's: User, Env, Entrypoint and so on.
    """
    layer = _layer(root)
    parts = {f"blobs/sha256/{_sha256(layer)}": layer}

    def blob(document: Mapping[str, Any], kind: str) -> dict[str, Any]:
        content = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
        parts[f"blobs/sha256/{_sha256(content)}"] = content
        return {"mediaType": kind, "digest": f"sha256:{_sha256(content)}", "size": len(content)}

    oci = "application/vnd.oci.image"
    rootfs = {"type": "layers", "diff_ids": [f"sha256:{_sha256(layer)}"]}
    config = {"architecture": "amd64", "os": "linux", "config": dict(settings), "rootfs": rootfs}
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
