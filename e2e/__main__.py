"""Run the journeys: `make e2e`.

In a cluster of one node of this machine's own; where KUBECONFIG is set, in that one (e2e/README.md says what
it must have); where the machine cannot run a node, those journeys that a control plane is enough for.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Final

from tests.control_plane import WITHOUT, ApiServer, Etcd

from e2e.single_node import preflight
from e2e.single_node.layout import name_of_a_node
from e2e.single_node.leftovers import traces
from e2e.single_node.node import PROGRAMS, ROOT, NodeFailed, SingleNode

_IMAGES: Final = ROOT / "tools" / "journey_images.py"
_JOURNEYS: Final = "e2e/journeys"
INTERRUPTED: Final = 130
_QUIET: Final = ("--tb=short",)
_TOLD: Final = ("--timeout=900", "--capture=no", "--tb=short")
"""Journeys wait for a cluster; what they type and what comes back is their report."""


def main() -> int:
    """Run them; returns pytest's exit code, or 1 where the node itself failed."""
    parser = argparse.ArgumentParser(
        prog="python -m e2e",
        description="Journeys on a real Kubernetes node (as root), or in the cluster of KUBECONFIG.",
        epilog="E2E_LOGS=DIR keeps the node's logs. Further options are pytest's. See e2e/README.md.",
    )
    parser.add_argument("journeys", nargs="*", help="files, such as e2e/journeys/test_job.py; default: all")
    parser.add_argument("--control-plane", action="store_true", help="only what needs no node")
    asked, options = parser.parse_known_args()
    if unknown := [name for name in asked.journeys if not (ROOT / name.partition("::")[0]).exists()]:
        print(f"There is no {', '.join(unknown)}; journeys are files of {_JOURNEYS}.", file=sys.stderr)
        return 2
    arguments = [*_TOLD, *(asked.journeys or [_JOURNEYS]), *options]
    if asked.control_plane:
        return _without_node(arguments)
    if os.environ.get("KUBECONFIG"):
        return _in_a_cluster_that_is_there(arguments)
    if reasons := preflight.obstacles(PROGRAMS.path):
        print("This machine cannot run a node:", *(f"- {reason}" for reason in reasons), sep="\n")
        return _without_node(arguments)
    return _in_a_node(arguments)


def _in_a_cluster_that_is_there(arguments: Sequence[str]) -> int:
    files = os.environ["KUBECONFIG"].split(os.pathsep)
    if missing := [file for file in files if not Path(file).exists()]:  # kubectl would ask localhost instead
        print(f"KUBECONFIG: there is no file {', '.join(missing)}.", file=sys.stderr)
        return 2
    environment = _environment()
    asked = subprocess.run(
        ["kubectl", "get", "--raw", "/readyz", "--request-timeout=10s"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if asked.returncode:
        print(
            f"The cluster of KUBECONFIG={environment['KUBECONFIG']} does not answer: {asked.stderr.strip()}\n"
            "Name one that does, or unset KUBECONFIG to have a node started here.",
            file=sys.stderr,
        )
        return 2
    print(f"Journeys in the cluster of {environment['KUBECONFIG']}", flush=True)
    return _pytest(arguments, environment)


def _without_node(arguments: Sequence[str]) -> int:
    if os.environ.get(WITHOUT):
        print(f"No journeys: {WITHOUT} asks for no control plane.")
        return 0
    print("Journeys that need a control plane only; the others need a node and are deselected.", flush=True)
    with Etcd() as etcd, ApiServer(etcd) as server:
        environment = _environment(
            KUBECONFIG=str(server.admin.kubeconfig),
            HOME=str(server.directory),  # kubectl and helm would write into the user's own
            E2E_CONTROL_PLANE_ONLY="1",
        )
        return _pytest([*arguments, "-m", "control_plane"], environment)


def _environment(**more: str) -> dict[str, str]:
    """Variables for journeys beside a control plane: kubectl is that which came with it."""
    kubectl = os.environ.get("KUBEBUILDER_ASSETS") or PROGRAMS.control_plane
    return {**os.environ, "PATH": f"{kubectl}:{os.environ.get('PATH', os.defpath)}", **more}


def _in_a_node(arguments: Sequence[str]) -> int:
    with tempfile.TemporaryDirectory(prefix=f"{name_of_a_node(os.getpid())}-images-") as images:
        subprocess.run([sys.executable, _IMAGES, "--output", images], check=True)
        checks = ["e2e/node_checks", *_QUIET]
        if code := _pytest(checks, {**os.environ, "E2E_IMAGES_FOLDER": images}):
            return code
        name, started = name_of_a_node(os.getpid()), time.monotonic()
        before = traces(name)
        try:
            with SingleNode(sorted(Path(images).glob("*.tar"))) as node:
                print(
                    f"Node {node.layout.name} is Ready after {time.monotonic() - started:.1f} s", flush=True
                )
                code = _pytest(arguments, node.environment(), node.inside(()))
        except NodeFailed as error:
            print(error, file=sys.stderr)
            return 1
    if left := traces(name) - before:
        print("This was left on the machine:", *sorted(left), sep="\n  ", file=sys.stderr)
        return 1
    print("Nothing is left on the machine: no process, mount, interface, route, cgroup or folder.")
    return code


def _pytest(arguments: Sequence[str], environment: dict[str, str], inside: Sequence[str] = ()) -> int:
    command = [*inside, sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-v", *arguments]
    with subprocess.Popen(command, cwd=ROOT, env=environment) as child:
        try:
            return child.wait()
        except KeyboardInterrupt:  # it has been interrupted as well, and puts away what is its own
            print("\nInterrupted; putting away what was started ...", file=sys.stderr, flush=True)
            child.wait()
            return INTERRUPTED
        except BaseException:
            child.send_signal(signal.SIGINT)  # it puts away what is its own; then so do we
            raise


def _interruptible() -> int:
    try:
        return main()
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return INTERRUPTED


def _asked_to_end(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(143)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _asked_to_end)  # so that the node is ended, too
    sys.exit(_interruptible())
