"""A node leaves nothing on the machine, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from e2e.single_node.layout import name_of_a_node
from e2e.single_node.leftovers import traces
from e2e.single_node.node import ROOT, SingleNode, clear_after_the_dead

pytestmark = pytest.mark.timeout(300)
PAUSE = Path(os.environ.get("E2E_IMAGES_FOLDER", "")) / "pause.tar"
OWNER = """
import signal, sys
from pathlib import Path
from e2e.single_node.node import SingleNode
with SingleNode([Path(sys.argv[1])]) as node:
    print(node.layout.name, flush=True)
    signal.pause()
"""
GONE_SECONDS = 30.0


def test_nothing_is_left_by_a_node_that_is_stopped() -> None:
    """Its processes, mounts, interfaces, routes, cgroups and folder go with it; it was Ready in between."""
    name = name_of_a_node(os.getpid())
    before = traces(name)
    with SingleNode([PAUSE]) as node:
        nodes = subprocess.run(
            node.inside(["kubectl", "get", "nodes"]),
            env=node.environment(),
            capture_output=True,
            text=True,
            check=True,
        )
        assert " Ready " in nodes.stdout
        assert traces(name) - before
    assert traces(name) - before == frozenset()


def test_no_process_outlives_an_owner_that_is_killed() -> None:
    """What a killed owner cannot remove, empty cgroups and files, the next node does."""
    before = traces("no process of a node")
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, PAUSE], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        name = owner.stdout.readline().strip()
        assert any(trace.startswith("process") for trace in traces(name))
        owner.send_signal(signal.SIGKILL)
    give_up_at = time.monotonic() + GONE_SECONDS
    while any(not trace.startswith(("cgroup", "folder")) for trace in traces(name) - before):
        assert time.monotonic() < give_up_at, sorted(traces(name) - before)
        time.sleep(0.1)
    clear_after_the_dead()
    assert traces(name) - before == frozenset()


def test_a_node_cannot_reach_anything_outside() -> None:
    """Neither this machine's addresses nor what is beyond them have a way."""
    with SingleNode([PAUSE]) as node:
        for address in ("192.0.2.1", "8.8.8.8"):
            asked = subprocess.run(
                node.inside(["ip", "route", "get", address]),
                env=node.environment(),
                capture_output=True,
                text=True,
                check=False,
            )
            assert asked.returncode, asked.stdout
            assert "unreachable" in asked.stderr
