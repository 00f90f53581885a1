"""The Kubernetes control plane of the tests: built from ``e2e/controlplane``, or ``KUBEBUILDER_ASSETS``."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import go_build
from go_build import GoModule
from steps import ROOT, StepFailed

ASSETS: Final = "KUBEBUILDER_ASSETS"
WITHOUT: Final = "PANNIER_NO_CONTROL_PLANE"
PARTS: Final = ("etcd", "kube-apiserver", "kubectl")
MODULE: Final = GoModule(
    name="controlplane",
    title="Kubernetes control plane",
    folder=ROOT / "e2e" / "controlplane",
    parts=PARTS,
    links=dict.fromkeys(PARTS, "controlplane"),
    advice="Check that Go modules can be fetched (GOPROXY), then run make again: what is compiled is kept.\n"
    f"To test without Kubernetes: {WITHOUT}=1 make test.",
)


def provide(find_go: Callable[[], Path]) -> None:
    """Have a control plane, or fail: only who asks for it goes without."""
    if os.environ.get(WITHOUT):
        print(f"  Control plane: left out, as {WITHOUT} asks; tests that need one are skipped", flush=True)
        return
    if assets := os.environ.get(ASSETS):
        refuse_incomplete(Path(assets))
        return
    version = MODULE.required("k8s.io/kubernetes")
    go_build.provide(MODULE, find_go, go_build.build_flags(go_build.kubernetes_version(version)))


def refuse_incomplete(assets: Path) -> None:
    """Say what a folder from outside lacks."""
    if missing := go_build.missing_parts(assets, PARTS):
        raise StepFailed(
            f"{ASSETS} is {assets}, which lacks {', '.join(missing)}.\n"
            f"Name a folder that holds {', '.join(PARTS)}, or unset it to have them built."
        )
