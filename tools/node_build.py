"""What a Kubernetes node runs beyond the control plane, for `make e2e`: from ``e2e/node`` and ``e2e/dns``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import go_build
from go_build import GoModule
from steps import ROOT

_ADVICE: Final = (
    "Check that Go modules can be fetched (GOPROXY), then run make again: what is compiled is kept.\n"
    "To run the journeys in a cluster that is there: KUBECONFIG=... make e2e (docs/contributing/e2e.md)."
)
_CALLED: Final = (
    "containerd",
    "ctr",
    "kubelet",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
)
_CNI: Final = "github.com/containernetworking/plugins/plugins"
NODE: Final = GoModule(
    name="node",
    title="Kubernetes node",
    folder=ROOT / "e2e" / "node",
    parts=(*_CALLED, "containerd-shim-runc-v2", "pause", "bridge", "host-local", "loopback"),
    packages=(
        ".",
        "./shim",
        "./pause",
        f"{_CNI}/main/bridge",
        f"{_CNI}/main/loopback",
        f"{_CNI}/ipam/host-local",
    ),
    renamed={"shim": "containerd-shim-runc-v2"},
    links=dict.fromkeys(_CALLED, "node"),
    advice=_ADVICE,
)
DNS: Final = GoModule(
    name="dns",
    title="Cluster DNS",
    folder=ROOT / "e2e" / "dns",
    parts=("dns",),
    advice=_ADVICE,
)
# parts of containerd that want C libraries, and that no node here uses
_TAGS: Final = ("no_btrfs", "no_devmapper", "no_zfs", "no_tracing")


def provide(find_go: Callable[[], Path]) -> None:
    """Have all programs of a node."""
    containerd = "github.com/containerd/containerd/v2"
    versions = {
        **go_build.kubernetes_version(NODE.required("k8s.io/kubernetes")),
        f"{containerd}/version.Version": NODE.required(containerd),
    }
    go_build.provide(NODE, find_go, go_build.build_flags(versions, tags=_TAGS))
    go_build.provide(DNS, find_go, go_build.build_flags({}))
