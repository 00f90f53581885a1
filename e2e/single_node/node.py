"""One node's life from outside: start it, run commands in its network, end it and leave nothing behind."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from e2e.single_node import cgroups
from e2e.single_node import layout as at
from e2e.single_node.keys import write_keys
from e2e.single_node.layout import Layout, Programs
from e2e.single_node.settings import documents

ROOT: Final = Path(__file__).resolve().parent.parent.parent
TOOLS: Final = ROOT / ".tools"
PROGRAMS: Final = Programs(
    control_plane=TOOLS / "controlplane", node=TOOLS / "node", dns=TOOLS / "dns", machine=TOOLS / "bin"
)
_NAMESPACES: Final = ("--mount", "--pid", "--net", "--uts", "--ipc", "--fork", "--kill-child=SIGKILL")
_READY_SECONDS: Final = 120.0
_STOP_SECONDS: Final = 20.0
_POLL_SECONDS: Final = 0.05
_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


class NodeFailed(Exception):
    """The node could not be started, or left something behind; the message says what."""


class SingleNode:
    """A Kubernetes cluster of one node, owned through ``with``; it dies with the process that started it."""

    def __init__(self, images: Sequence[Path], programs: Programs = PROGRAMS) -> None:
        name = at.name_of_a_node(os.getpid())
        self.layout = Layout(name, Path(tempfile.mkdtemp(prefix=f"{name}-")), programs, images)
        self._outer: subprocess.Popen[bytes] | None = None
        self._first = 0

    def start(self) -> None:
        """Start everything; returns once the node is Ready and pods may be made."""
        clear_after_the_dead()
        self._write_files()
        cgroups.make(self.layout.name)
        with (self.layout.logs / "init.log").open("wb") as log:
            self._outer = subprocess.Popen(
                ["unshare", *_NAMESPACES, sys.executable, "-m", "e2e.single_node.init", self.layout.write()],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the journeys; the node is ended when they have ended
                preexec_fn=_die_with_parent,  # noqa: PLW1509 (one system call, no allocation, no lock)
            )
        self._wait_until("its first process is there", self._has_first)
        self._wait_until("images are there", self.layout.images_imported.exists)
        self._wait_until("the node is Ready", self._is_ready)

    def inside(self, command: Sequence[str | Path]) -> list[str]:
        """Compose a command that runs in the node's network, and otherwise like any here."""
        return ["nsenter", f"--net=/proc/{self._first}/ns/net", *map(str, command)]

    def environment(self) -> dict[str, str]:
        """Variables by which kubectl and the like find this cluster, and nothing of the user's own."""
        path = f"{self.layout.programs.path}:{os.environ.get('PATH', os.defpath)}"
        return {
            **os.environ,
            "PATH": path,
            "HOME": str(self.layout.folder),
            "KUBECONFIG": str(self.layout.kubeconfig),
        }

    def stop(self) -> None:
        """End the node; raises `NodeFailed` if a cgroup cannot be removed."""
        outer, self._outer = self._outer, None
        if outer is not None and outer.poll() is None:
            if self._first:
                os.kill(self._first, signal.SIGTERM)
            try:
                outer.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                outer.kill()
                outer.wait()
        left = cgroups.remove(self.layout.name)
        if left:
            raise NodeFailed(f"these cgroups could not be removed: {', '.join(map(str, left))}")

    def _write_files(self) -> None:
        self.layout.logs.mkdir()
        for name, text in documents(self.layout).items():
            file = self.layout.settings / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        write_keys(self.layout)

    def _has_first(self) -> bool:
        """Find the first process: the only child of the one that made the namespaces."""
        if self._outer is None:
            raise NodeFailed("it was not started")
        pid = self._outer.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        self._first = int(children[0]) if children else 0
        return bool(children)

    def _is_ready(self) -> bool:
        ready = "jsonpath={.items[*].status.conditions[?(@.type=='Ready')].status}"
        return self._said("get", "nodes", "-o", ready) == "True" and bool(
            self._said("get", "serviceaccount", "default", "-o", "name")
        )

    def _said(self, *arguments: str) -> str:
        done = subprocess.run(
            self.inside(["kubectl", "--request-timeout=5s", *arguments]),
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    def _wait_until(self, what: str, holds: Callable[[], bool]) -> None:
        give_up_at = time.monotonic() + _READY_SECONDS
        while not holds():
            if self._outer is None or self._outer.poll() is not None:
                raise NodeFailed(f"the node ended before {what}:\n{self._log()}")
            if time.monotonic() > give_up_at:
                raise NodeFailed(f"it took longer than {_READY_SECONDS:.0f} s until {what}:\n{self._log()}")
            time.sleep(_POLL_SECONDS)

    def _log(self) -> str:
        return (self.layout.logs / "init.log").read_text(errors="replace")[-4000:]

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.stop()
        finally:
            if keep := os.environ.get("E2E_LOGS"):
                shutil.copytree(self.layout.logs, keep, dirs_exist_ok=True)
            shutil.rmtree(self.layout.folder, ignore_errors=True)

    def __repr__(self) -> str:
        state = f"pid {self._outer.pid}" if self._outer is not None else "stopped"
        return f"<SingleNode {self.layout.name}, {state}>"


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def clear_after_the_dead() -> None:
    """Remove cgroups and folders of nodes whose owner was killed; the pid in a name tells whose they are."""
    for folder in cgroups.existing(at.PREFIX):
        if _is_dead(folder.name):
            cgroups.remove(folder.name)
    for folder in Path(tempfile.gettempdir()).glob(f"{at.PREFIX}*"):
        if _is_dead(folder.name):
            shutil.rmtree(folder, ignore_errors=True)


def _is_dead(name: str) -> bool:
    owner = name.removeprefix(at.PREFIX).partition("-")[0]
    return owner.isdigit() and not Path(f"/proc/{owner}").exists()
