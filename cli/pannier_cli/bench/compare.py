"""One run that measures a bare aiohttp handler, this sidecar and Feast over the same rows, each on one core.

`run` starts the servers, checks that each gives the right rows, sends load from the other core in several
interleaved rounds, and returns medians. What is asked for stands in `compare_workload`.
"""

from __future__ import annotations

import http.client
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from pannier_cli.bench import compare_workload as workload
from pannier_cli.bench import servers, wrk
from pannier_cli.bench.binaries import find_feast_python, find_program
from pannier_cli.bench.children import HOST, Child
from pannier_cli.bench.compare_workload import SCENARIOS, Scenario
from pannier_cli.bench.figures import Measured, medians
from pannier_cli.failures import CommandFailed

Tell = Callable[[str], None]
RowsOfAnswer = Callable[[dict[str, Any]], dict[tuple[str, str], dict[str, Any]]]
FEAST_STRETCH = 3
WARMUP_SECONDS = 2
_WRITES_PER_REQUEST = 500


@dataclass(frozen=True, slots=True)
class Subject:
    """One server under load: the path that answers a scenario, and the bodies to send there."""

    name: str
    child: Child
    path: Callable[[Scenario], str]
    bodies: Callable[[Scenario], list[bytes]]
    stretch: int = 1
    """How many times longer a run takes than asked: a server with few answers per second needs it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and where to measure. Two cores at least: servers on the first, load on the second."""

    rounds: int
    seconds: int
    with_feast: bool

    @property
    def server_cores(self) -> frozenset[int] | None:
        """The one core that every server gets; None where there is no second for the load."""
        return frozenset(sorted(os.sched_getaffinity(0))[:1]) if self._pinned else None

    @property
    def load_cores(self) -> frozenset[int] | None:
        """Where wrk and Feast's Redis run."""
        return frozenset(sorted(os.sched_getaffinity(0))[1:2]) if self._pinned else None

    @property
    def _pinned(self) -> bool:
        return len(os.sched_getaffinity(0)) > 1


def run(plan: Plan, directory: Path, tell: Tell) -> dict[str, dict[str, Measured]]:
    """Measure; returns scenario -> subject -> medians over the rounds."""
    find_program("wrk")
    runs: dict[tuple[str, str], list[Measured]] = {}
    with ExitStack() as stack:
        subjects = _start(plan, directory, tell, stack)
        for turn in range(1, plan.rounds + 1):
            for scenario in SCENARIOS:
                for subject in subjects:
                    tell(f"round {turn}/{plan.rounds}: {scenario.title}, {subject.name}")
                    measured = _measure(subject, scenario, plan, directory)
                    runs.setdefault((scenario.name, subject.name), []).append(measured)
    return {
        scenario.name: {subject.name: medians(runs[scenario.name, subject.name]) for subject in subjects}
        for scenario in SCENARIOS
    }


def _start(plan: Plan, directory: Path, tell: Tell, stack: ExitStack) -> list[Subject]:
    """Start, fill and check every server."""
    answers: dict[str, bytes] = {}
    subjects = [
        stack.enter_context(_sidecar(plan, directory / "sidecar", tell, answers)),
        stack.enter_context(_bare(plan, directory / "bare", answers)),
    ]
    if plan.with_feast and (python := find_feast_python()):
        tell("starting Feast and writing rows")
        redis = stack.enter_context(servers.redis(directory / "feast-redis", plan.load_cores))
        repository = directory / "feast-repository"
        servers.load_feast(repository, python, redis.port, workload.feast_groups())
        for name in servers.FEAST_OPTIONS:
            child = servers.feast(repository, python, name, plan.server_cores)
            subjects.append(stack.enter_context(_feast(name, child)))
    return subjects


@contextmanager
def _sidecar(plan: Plan, directory: Path, tell: Tell, answers: dict[str, bytes]) -> Iterator[Subject]:
    """Start this sidecar on the embedded store, write the rows, warm L1, and note its answers' bytes."""
    manifests = [workload.manifest(group) for group in workload.GROUPS]
    flags = ["--store", "embedded", "--data-dir", str(directory / "data")]
    tell("starting the sidecar and writing rows")
    with servers.sidecar(directory, manifests, flags, plan.server_cores) as child:
        fill_and_warm(child.port)
        subject = Subject("pannier", child, lambda _: "/v1/features/read", pannier_bodies)
        for scenario in SCENARIOS:
            bodies = subject.bodies(scenario)
            answers[scenario.name] = check_answers(
                child.port, subject.path(scenario), scenario, bodies, workload.pannier_answer_rows
            )
        yield subject


@contextmanager
def _bare(plan: Plan, directory: Path, answers: dict[str, bytes]) -> Iterator[Subject]:
    """Start the bare handler with bytes that the sidecar answered."""
    with servers.bare(directory, answers, plan.server_cores) as child:
        subject = Subject("bare aiohttp", child, lambda scenario: f"/{scenario.name}", pannier_bodies)
        for scenario in SCENARIOS:
            # constant bytes are right for the first body only
            bodies = subject.bodies(scenario)[:1]
            check_answers(child.port, subject.path(scenario), scenario, bodies, workload.pannier_answer_rows)
        yield subject


@contextmanager
def _feast(name: str, server: Child) -> Iterator[Subject]:
    """Start a feature server of Feast over the rows in Redis."""
    with server as child:
        subject = Subject(name, child, lambda _: "/get-online-features", _feast_bodies, FEAST_STRETCH)
        for scenario in SCENARIOS:
            bodies = subject.bodies(scenario)
            check_answers(child.port, subject.path(scenario), scenario, bodies, workload.feast_answer_rows)
        yield subject


def _measure(subject: Subject, scenario: Scenario, plan: Plan, directory: Path) -> Measured:
    bodies = directory / f"{subject.child.name}-{scenario.name}.jsonl"
    bodies.write_bytes(b"\n".join(subject.bodies(scenario)) + b"\n")
    url = subject.child.url + subject.path(scenario)
    # what lay idle while the others ran is fresh again after this
    wrk.run(url, bodies, seconds=WARMUP_SECONDS, cores=plan.load_cores)
    cpu_before = subject.child.cpu_seconds()
    run = wrk.run(url, bodies, seconds=plan.seconds * subject.stretch, cores=plan.load_cores)
    cpu_seconds = subject.child.cpu_seconds() - cpu_before
    if run.errors and subject.name != "feast":  # Feast drops connections whenever it replaces its worker
        raise CommandFailed(f"{subject.name}: {run.errors} of {run.requests} requests failed under load")
    return Measured.of(run, cpu_seconds=cpu_seconds, rows=scenario.rows)


def check_answers(
    port: int, path: str, scenario: Scenario, bodies: Sequence[bytes], rows_of_answer: RowsOfAnswer
) -> bytes:
    """Send the bodies once and compare every value of every answer; returns the first answer."""
    expected = {group: workload.rows_of(group) for group in scenario.groups}
    answers = []
    with closing(http.client.HTTPConnection(HOST, port, timeout=60)) as connection:
        for ids, body in zip(workload.pick_ids(scenario), bodies, strict=False):
            answers.append(_post(connection, path, body))
            right = {(group, one_id): expected[group][one_id] for group in scenario.groups for one_id in ids}
            if rows_of_answer(msgspec.json.decode(answers[-1])) != right:
                raise CommandFailed(f"{path} answers {scenario.title} with wrong rows: {answers[-1][:500]!r}")
    return answers[0]


def fill_and_warm(port: int) -> None:
    """Write the rows and read them until every one comes out of L1: that is what is to be measured."""
    for group in workload.GROUPS:
        _write(port, group)
    ids = [workload.row_id(number) for number in range(workload.IDS)]
    reads = [{"group": group, "ids": ids} for group in workload.GROUPS]
    body = msgspec.json.encode({"reads": reads, "explain": True})
    with closing(http.client.HTTPConnection(HOST, port, timeout=60)) as connection:
        for _attempt in range(2):  # the first reads in what no body asked for
            answer = msgspec.json.decode(_post(connection, "/v1/features/read", body))
    sources = {row.get("source") for result in answer["results"] for row in result["rows"]}
    if sources != {"l1"}:
        raise CommandFailed(f"L1 is not warm: rows come from {sorted(map(str, sources))}")


def _write(port: int, group: str) -> None:
    with closing(http.client.HTTPConnection(HOST, port, timeout=60)) as connection:
        writes = [{"group": group, "id": i, "features": f} for i, f in workload.rows_of(group).items()]
        for start in range(0, len(writes), _WRITES_PER_REQUEST):
            body = msgspec.json.encode({"writes": writes[start : start + _WRITES_PER_REQUEST]})
            answer = msgspec.json.decode(_post(connection, "/v1/features/write", body))
            if any(result["verdict"] != "written" for result in answer["results"]):
                raise CommandFailed(f"the sidecar did not take every row: {answer['results'][:3]}")


def _post(connection: http.client.HTTPConnection, path: str, body: bytes) -> bytes:
    connection.request("POST", path, body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    answer = response.read()
    if response.status != http.HTTPStatus.OK:
        raise CommandFailed(f"{path} answers {response.status}: {answer[:500].decode(errors='replace')}")
    return answer


def pannier_bodies(scenario: Scenario) -> list[bytes]:
    """Make the request bodies for this sidecar."""
    return [msgspec.json.encode(workload.pannier_body(scenario, ids)) for ids in workload.pick_ids(scenario)]


def _feast_bodies(scenario: Scenario) -> list[bytes]:
    return [msgspec.json.encode(workload.feast_body(scenario, ids)) for ids in workload.pick_ids(scenario)]


def configuration(plan: Plan) -> dict[str, Any]:
    """Say what was measured how, for the record."""
    return {
        "warm-up": f"{WARMUP_SECONDS} s of the same load before each run",
        "load": f"wrk, 1 thread, {wrk.CONNECTIONS} connections, {plan.seconds} s per run "
        f"({plan.seconds * FEAST_STRETCH} s for Feast)",
        "rounds": f"{plan.rounds}, interleaved; medians of each figure",
        "cores": f"servers {_cores(plan.server_cores)}, load and Feast's Redis {_cores(plan.load_cores)}",
        "rows": f"{workload.IDS} ids x {len(workload.GROUPS)} groups x {len(workload.FEATURES)} features",
        "sidecar": "embedded store, cache profile Hot, L1 warm, one process",
        "bare aiohttp": "uvloop, reads the body, answers constant bytes of the sidecar's answer",
        **{
            name: " ".join(["feast serve --workers 1", *options, "with the Redis online store"])
            for name, options in servers.FEAST_OPTIONS.items()
        },
    }


def _cores(cores: frozenset[int] | None) -> str:
    return f"on core {','.join(map(str, sorted(cores)))}" if cores else "on any core"
