"""The first process of a node: its end is the end of every process, mount, route and interface of the node.

    unshare --mount --pid --net --uts --ipc --fork --kill-child python -m e2e.single_node.init LAYOUT

Everything it changes is in namespaces of its own. Parts run until one of them ends or SIGTERM comes.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Final

from e2e.single_node import layout as at
from e2e.single_node.layout import Layout
from e2e.single_node.settings import CONTAINERD_SOCKET, KERNEL_SETTINGS, commands

_PATIENCE_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.02
_POD_LOGS: Final = Path("/var/log")


class PartEnded(Exception):
    """A part of the node ended by itself, or did not begin to answer."""


class Parts:
    """The running parts of a node; everything they leave behind is this process's, the first's, to reap."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._commands = commands(layout)
        self._names: dict[int, str] = {}

    def start(self, name: str) -> None:
        """Start a part with its output in a log of its own."""
        with (self._layout.logs / f"{name}.log").open("wb") as log:
            child = subprocess.Popen(
                self._commands[name], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        self._names[child.pid] = name

    def wait_for(self, what: str, holds: Callable[[], bool]) -> None:
        """Wait until something holds; raises `PartEnded`."""
        give_up_at = time.monotonic() + _PATIENCE_SECONDS
        while not holds():
            self.look()
            if time.monotonic() > give_up_at:
                raise PartEnded(f"{what}: not within {_PATIENCE_SECONDS:.0f} s")
            time.sleep(_POLL_SECONDS)

    def look(self, options: int = os.WNOHANG) -> None:
        """Reap who ended; raises `PartEnded` if it was a part."""
        pid, status = os.waitpid(-1, options)
        if pid in self._names:
            name = self._names.pop(pid)
            raise PartEnded(f"{name} ended with {os.waitstatus_to_exitcode(status)}; see log/{name}.log")

    def stop(self) -> None:
        """Ask every part to end, last one first; who does not ends with this process."""
        for pid in reversed(self._names):
            os.kill(pid, signal.SIGTERM)

    def __repr__(self) -> str:
        return f"<Parts {', '.join(self._names.values())}>"


def _own_mounts(layout: Layout) -> None:
    _run("mount", "--make-rprivate", "/")
    _run("mount", "-t", "proc", "proc", "/proc")
    for setting in KERNEL_SETTINGS:
        shown = layout.settings / "kernel" / setting.replace("/", "-")
        _run("mount", "--bind", shown, f"/proc/sys/{setting}")
    for place in ("/run", "/var/lib"):  # customary places of the parts, but the node's own
        _run("mount", "-t", "tmpfs", "tmpfs", place)
    for place in ("kubelet", "containerd"):
        (layout.folder / place).mkdir()
        Path("/var/lib", place).mkdir()
        _run("mount", "--bind", layout.folder / place, f"/var/lib/{place}")
    (layout.folder / "pod-logs").mkdir()
    _run("mount", "--bind", layout.folder / "pod-logs", _POD_LOGS)
    _run("mount", "--make-rshared", "/")  # what the kubelet mounts is seen by containers


def _own_network() -> None:
    """Give the node an address; behind its interface is nothing, so no packet leaves the namespace."""
    _run("ip", "link", "set", "lo", "up")
    _run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "nowhere")
    _run("ip", "address", "add", f"{at.ADDRESS}/{at.NETWORK.partition('/')[2]}", "dev", "eth0")
    for link in ("eth0", "nowhere"):
        _run("ip", "link", "set", link, "up")
    # an address of a Service is rewritten on its way out, and needs a way
    _run("ip", "route", "add", at.SERVICES, "dev", "eth0")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def _run(*command: str | Path) -> None:
    subprocess.run([str(part) for part in command], check=True)


def _start_all(layout: Layout, parts: Parts) -> None:
    parts.start("etcd")
    parts.start("containerd")
    parts.start("kube-apiserver")
    parts.wait_for("containerd", lambda: _succeeds("ctr", "version"))
    for image in layout.images:
        _run("ctr", "--namespace", "k8s.io", "images", "import", "--local", image)
    layout.images_imported.touch()
    parts.wait_for("kube-apiserver", lambda: _listens(at.API_PORT))
    for name in ("kubelet", "kube-controller-manager", "kube-scheduler", "kube-proxy", "dns"):
        parts.start(name)


def _succeeds(*command: str) -> bool:
    return (
        Path(CONTAINERD_SOCKET).exists()
        and subprocess.run(command, capture_output=True, check=False).returncode == 0
    )


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _asked_to_end(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


def main(arguments: Sequence[str]) -> int:
    """Be the node until SIGTERM (0) or until a part ends (1)."""
    layout = Layout.read(Path(arguments[0]))
    os.environ["PATH"] = f"{layout.programs.path}:{os.environ['PATH']}"
    socket.sethostname(layout.name)
    signal.signal(signal.SIGTERM, _asked_to_end)
    _own_mounts(layout)
    _own_network()
    parts = Parts(layout)
    try:
        _start_all(layout, parts)
        while True:
            parts.look(0)
    except PartEnded as ended:
        print(ended, file=sys.stderr, flush=True)
        return 1
    finally:
        parts.stop()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
