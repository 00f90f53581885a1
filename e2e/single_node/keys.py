"""Certificates and keys of one node's life: an authority, and pairs of API server, node and administrator."""

from __future__ import annotations

import json
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from tests.certificates import Authority, Pair, key_pem
from tests.control_plane import kubeconfig

from e2e.single_node import layout as at
from e2e.single_node.layout import Layout


def write_keys(layout: Layout) -> None:
    """Make and write all of them, and the kubeconfigs that hold the clients'."""
    authority = Authority()
    names = (at.ADDRESS, at.API_SERVICE, "kubernetes.default.svc", "kubernetes.default", "kubernetes")
    clients = {
        "node": authority.client(f"system:node:{layout.name}", ["system:nodes"]),
        "admin": authority.client("admin", ["system:masters"]),
    }
    layout.keys.mkdir(mode=0o700)
    _write(layout.keys / "ca.crt", authority.certificate)
    _write(layout.keys / "service-account.key", key_pem(ec.generate_private_key(ec.SECP256R1())))
    for name, pair in {"server": authority.server("127.0.0.1", also=names), **clients}.items():
        _write_pair(layout.keys, name, pair)
    for name, pair in clients.items():
        document = kubeconfig(
            f"https://127.0.0.1:{at.API_PORT}", authority.certificate, (pair.certificate, pair.key)
        )
        _write(layout.folder / f"{name}.kubeconfig", json.dumps(document))


def _write_pair(folder: Path, name: str, pair: Pair) -> None:
    _write(folder / f"{name}.crt", pair.certificate)
    _write(folder / f"{name}.key", pair.key)


def _write(file: Path, text: str) -> None:
    file.write_text(text)
    file.chmod(0o600)
