"""A large installation: groups are made, the operator is restarted, groups are edited, and all is counted.

The operator is a child process with the arguments and the ServiceAccount of the chart, the API server is
real, and DynamoDB an emulator behind a proxy that counts. One client edits in an open loop: an edit is due
when it is due, whatever became of the one before.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.control_plane import ApiServer
from tests.fault_proxy import FaultProxy
from tests.helm import NAMESPACE, arguments_of, pick
from tests.integration.chart_release import Release, a_release
from tests.integration.operator_cluster import OperatorProcess
from tests.scale.arrivals import Arrivals
from tests.scale.figures import Figures, Sample
from tests.scale.kube_client import KubeClient
from tests.scale.population import SHARED_TABLE, Size, edit, manifest, name_of, namespace_of
from tests.servers import ServerFailed

from pannier.crd import PLURAL
from pannier.spec_base import API_VERSION

Tell = Callable[[str], None]
MADE_AT_ONCE = 20
_LATEST_SECONDS = 60.0
"""How long the last edits may take before they count as lost."""
_ALL_READY_SECONDS = 900.0
_DATA_CALLS = ("GetItem", "PutItem")
_READY = re.compile(r'^pannier_operator_condition_groups\{status="True",type="Ready"\} (\S+)$', re.MULTILINE)
_MIB = 1024 * 1024


@dataclass
class Stage:
    """Everything that a run has to do with."""

    size: Size
    kube: KubeClient
    proxy: FaultProxy
    release: Release
    operator: OperatorProcess
    tell: Tell
    arrivals: Arrivals = field(default_factory=Arrivals)
    samples: list[Sample] = field(default_factory=list)

    async def sample(self) -> None:
        """Look at the operator once a second, but for while it is being restarted."""
        while True:
            with contextlib.suppress(OSError, ServerFailed):
                self.samples.append(look(self.operator.pid, self.proxy))
            await asyncio.sleep(1)

    async def make_groups(self) -> float:
        """Make all groups; how long it takes until all are Ready."""
        began = time.monotonic()
        waiting = iter(range(self.size.groups))

        async def make(numbers: Iterable[int]) -> None:
            for number in numbers:
                path = f"{_groups(namespace_of(number, self.size))}"
                await self.kube.make(path, manifest(number, self.size))

        await asyncio.gather(*(make(waiting) for _ in range(MADE_AT_ONCE)))
        self.tell(f"{self.size.groups:,} groups made in {time.monotonic() - began:.0f} s")
        await self._all_ready()
        return time.monotonic() - began

    async def restart(self) -> tuple[float, int]:
        """Restart the operator; how long until it has looked at every group, and what it wrote."""
        began, before = time.monotonic(), self.arrivals.catalogs
        await asyncio.to_thread(self.operator.restart)
        await self._all_ready()
        return time.monotonic() - began, self.arrivals.catalogs - before

    async def edit(self) -> None:
        """Edit one group after another at the rate; return when catalogs have all of it, or time is up."""
        start = time.monotonic()
        async with asyncio.TaskGroup() as edits:
            for number in range(1, self.size.edits + 1):
                due = start + number / self.size.edits_per_second
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                edits.create_task(self._edit(number, due), name=f"edit {number}")
                if number % max(1, self.size.edits // 10) == 0:
                    self.tell(f"{number:,} edits, {self.arrivals.missing} on their way, {self.samples[-1]}")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LATEST_SECONDS):
                while self.arrivals.missing:  # noqa: ASYNC110 - it is another process that changes
                    await asyncio.sleep(0.1)

    async def _edit(self, number: int, due: float) -> None:
        group = number % self.size.groups
        self.arrivals.expect(name_of(group), number, due)
        path = _groups(namespace_of(group, self.size), name_of(group))
        await self.kube.merge(path, {"spec": edit(number)})

    async def _all_ready(self) -> None:
        async with asyncio.timeout(_ALL_READY_SECONDS):
            while await asyncio.to_thread(self._ready) < self.size.groups:  # noqa: ASYNC110 - as below
                await asyncio.sleep(0.5)

    def _ready(self) -> int:
        with contextlib.suppress(OSError):
            found = _READY.search(self.operator.ask("/metrics")[1])
            return int(float(found[1])) if found else 0
        return 0

    async def behind(self) -> int:
        """Count groups that are not Ready as edited, once there was time to say so."""
        for _ in range(int(_LATEST_SECONDS)):
            found = (await self.kube.get(f"/apis/{API_VERSION}/{PLURAL}"))["items"]
            behind = sum(not _is_ready(group) for group in found)
            if not behind:
                return 0
            await asyncio.sleep(1)
        return behind


async def run(size: Size, api: ApiServer, dynamodb_url: str, folder: Path, tell: Tell) -> Figures:
    """Do all of it; the chart is rendered in a folder."""
    async with a_stage(size, api, dynamodb_url, folder, tell) as stage:
        ready_seconds = await stage.make_groups()
        tell(f"all Ready after {ready_seconds:.0f} s, {stage.samples[-1]}")
        restart_seconds, restart_writes = await stage.restart()
        tell(f"restarted, all looked at after {restart_seconds:.0f} s, {stage.samples[-1]}")
        edits_from, before = len(stage.samples), stage.arrivals.catalogs
        await stage.edit()
        behind = await stage.behind()
        told = arguments_of(pick(stage.release.objects, "Deployment", "-operator"))
        return Figures(
            groups=size.groups,
            namespaces=size.namespaces,
            dedicated=size.dedicated,
            ready_seconds=ready_seconds,
            restart_seconds=restart_seconds,
            restart_writes=restart_writes,
            edits_per_second=size.edits_per_second,
            seconds=size.seconds,
            delays=stage.arrivals.delays,
            missing=stage.arrivals.missing,
            behind=behind,
            catalogs=stage.arrivals.catalogs - before,
            samples=stage.samples,
            edits_from=edits_from,
            calls_per_second=float(told["aws-calls-per-second"]),
            calls=dict(stage.proxy.calls),
            refusals=api.refusals(stage.release.user()),
        )


@contextlib.asynccontextmanager
async def a_stage(
    size: Size, api: ApiServer, dynamodb_url: str, folder: Path, tell: Tell
) -> AsyncIterator[Stage]:
    """Namespaces, the chart, its operator running, and somebody who watches both."""
    async with FaultProxy(dynamodb_url) as proxy, KubeClient(api) as kube:
        for name in (NAMESPACE, *(namespace_of(n, size) for n in range(size.namespaces))):
            await kube.make("/api/v1/namespaces", {"metadata": {"name": name}})
        values = {"operator": {"sharedTables": [{"name": SHARED_TABLE}]}}
        with a_release(api, NAMESPACE, folder, values) as release:
            api.wait_until(lambda: release.may("create", "events", namespace=namespace_of(0, size)))
            process = release.operator(proxy.url, release.user())
            stage = Stage(size, kube, proxy, release, process, tell)
            try:
                await asyncio.to_thread(process.start)
                async with asyncio.TaskGroup() as watching:
                    tasks = [
                        watching.create_task(stage.arrivals.follow(kube), name="catalogs"),
                        watching.create_task(stage.sample(), name="samples"),
                    ]
                    yield stage
                    for task in tasks:
                        task.cancel()
            except BaseException as error:
                error.add_note(f"{process!r} said:\n{process.output}")
                raise
            finally:
                await asyncio.to_thread(process.close)


def look(pid: int, proxy: FaultProxy) -> Sample:
    """Read what a process takes, from /proc."""
    resident = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    spent = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[11:13]
    return Sample(
        at=time.monotonic(),
        rss_mib=resident * os.sysconf("SC_PAGE_SIZE") / _MIB,
        cpu_seconds=sum(map(int, spent)) / os.sysconf("SC_CLK_TCK"),
        control_calls=sum(n for operation, n in proxy.calls.items() if operation not in _DATA_CALLS),
    )


def _groups(namespace: str, name: str = "") -> str:
    return f"/apis/{API_VERSION}/namespaces/{namespace}/{PLURAL}{f'/{name}' if name else ''}"


def _is_ready(group: Mapping[str, Any]) -> bool:
    ready = [c for c in (group.get("status") or {}).get("conditions", ()) if c["type"] == "Ready"]
    generation = group["metadata"]["generation"]
    return any(c["status"] == "True" and c["observedGeneration"] == generation for c in ready)
