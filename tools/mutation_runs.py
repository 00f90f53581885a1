"""Runs tests against mutants: one fork each, the changed module in memory, the tests that reach its lines.

Nothing of the project is imported in the process that forks, so that every fork imports it anew.
"""

from __future__ import annotations

import ast
import contextlib
import enum
import gc
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import math
import os
import resource
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, Final, NamedTuple

import coverage
import hypothesis
import pytest
from steps import ROOT

SOURCE_FOLDERS: Final = ("contract", "sidecar")
MOST_MEMORY_BYTES: Final = 3 << 30
WAIT_PER_CPU_SECOND: Final = 20
"""For runs that wait for ever instead of computing; long, since other programs may have the cores."""
_POLL_SECONDS: Final = 0.005


class Mutant(NamedTuple):
    """One change of one module, and the module with it."""

    module: str
    operator: str
    line: int
    end_line: int
    before: str
    after: str
    code: str


class Outcome(enum.Enum):
    """What became of a mutant."""

    KILLED = "killed"
    SURVIVED = "survived"
    NOT_TRIED = "not tried"
    """There was no time left."""


class Baseline(NamedTuple):
    """What the tests do with the modules as they are."""

    seconds: dict[str, float]
    """Of each test."""
    reached: dict[str, dict[int, list[str]]]
    """By module and line, the tests that run it; no name stands for the import."""

    def tests_of(self, mutant: Mutant) -> list[str]:
        """Give the tests that may notice a mutant, the quickest first; none if its lines never run."""
        first, last = _statement(mutant)
        by_line = self.reached.get(mutant.module, {})
        tests = {test for line in range(first, last + 1) for test in by_line.get(line, ())}
        if "" in tests:
            tests = set(self.seconds)
        return sorted(tests & self.seconds.keys(), key=lambda test: self.seconds[test])


class _Watch:
    """A pytest plugin: which test runs which lines, and how long it takes."""

    def __init__(self, measured: coverage.Coverage) -> None:
        self._measured = measured
        self.seconds: dict[str, float] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._measured.switch_context(item.nodeid)
        started = time.perf_counter()
        result = yield
        self.seconds[item.nodeid] = time.perf_counter() - started
        self._measured.switch_context("")
        return result


class _Finder(importlib.abc.MetaPathFinder):
    """Gives a module in its changed form."""

    def __init__(self, mutant: Mutant) -> None:
        self._name = ".".join(Path(mutant.module).with_suffix("").parts[1:]).removesuffix(".__init__")
        self._path = str(ROOT / mutant.module)
        self._loader = _Loader(self._name, self._path, mutant.code)

    def find_spec(
        self,
        name: str,
        path: Any,  # noqa: ARG002 (what importlib calls it with)
        target: ModuleType | None = None,  # noqa: ARG002 (likewise)
    ) -> importlib.machinery.ModuleSpec | None:
        if name != self._name:
            return None
        return importlib.util.spec_from_file_location(name, self._path, loader=self._loader)


class _Loader(importlib.machinery.SourceFileLoader):
    """Compiles the code it was given instead of the file's."""

    def __init__(self, name: str, path: str, code: str) -> None:
        super().__init__(name, path)
        self._code = code

    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002 (likewise)
        return compile(self._code, self.path, "exec")


def baseline_of(modules: Sequence[str], tests: Sequence[str]) -> Baseline:
    """Run the tests on the modules as they are; raises `SystemExit` where they fail."""
    with tempfile.NamedTemporaryFile("w+") as told:

        def run() -> int:
            measured = coverage.Coverage(data_file=None, include=[str(ROOT / module) for module in modules])
            watch = _Watch(measured)
            measured.start()
            code = _pytest(tests, [watch])
            measured.stop()
            data = measured.get_data()
            reached = {module: data.contexts_by_lineno(str(ROOT / module)) for module in modules}
            told.write(json.dumps([watch.seconds, reached, _foreign_modules()]))
            told.flush()
            return code

        _, status = os.waitpid(_forked(run), 0)
        if os.waitstatus_to_exitcode(status):
            raise SystemExit(f"the tests fail without any mutant: {' '.join(tests)}")
        told.seek(0)
        seconds, reached, foreign = json.load(told)
    _import(foreign)
    lines = {m: {int(line): names for line, names in by_line.items()} for m, by_line in reached.items()}
    return Baseline(seconds, lines)


def _foreign_modules() -> list[str]:
    """Modules that are imported here and are none of this project, in the order of their import."""
    return [
        name
        for name, module in sys.modules.items()
        if name != "__main__" and not _is_ours(getattr(module, "__file__", None))
    ]


def _is_ours(file: str | None) -> bool:
    return file is not None and Path(file).is_relative_to(ROOT) and not Path(file).is_relative_to(sys.prefix)


def _import(names: Sequence[str]) -> None:
    """Import here what every fork would import by itself."""
    for name in names:
        with contextlib.suppress(Exception), warnings.catch_warnings(action="ignore"):
            importlib.import_module(name)
    gc.freeze()  # no fork looks through all that again


def try_all(
    mutants: Sequence[Mutant], baseline: Baseline, *, workers: int, until: float
) -> dict[Mutant, Outcome]:
    """Try every mutant, a few at a time, until the time is up (by the monotonic clock)."""
    outcomes: dict[Mutant, Outcome] = {}
    running: dict[int, tuple[Mutant, float]] = {}
    for mutant in mutants:
        tests = baseline.tests_of(mutant)
        if time.monotonic() > until:
            outcomes[mutant] = Outcome.NOT_TRIED
        elif not tests:
            outcomes[mutant] = Outcome.SURVIVED
        else:
            while len(running) >= workers:
                _reap(running, outcomes)
            cpu_seconds = 3 + math.ceil(5 * sum(baseline.seconds[test] for test in tests))
            pid = _forked(_trial(mutant, tests, cpu_seconds))
            running[pid] = mutant, time.monotonic() + WAIT_PER_CPU_SECOND * cpu_seconds
    while running:
        _reap(running, outcomes)
    return {mutant: outcomes[mutant] for mutant in mutants}


def _trial(mutant: Mutant, tests: Sequence[str], cpu_seconds: int) -> Callable[[], int]:
    """A run that goes on for ever is ended by what it computes, however busy the machine is."""

    def run() -> int:
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
        sys.meta_path.insert(0, _Finder(mutant))
        return _pytest(tests, [])

    return run


def _reap(running: dict[int, tuple[Mutant, float]], outcomes: dict[Mutant, Outcome]) -> None:
    """Take in who has ended; who takes too long is ended, and noticed by that."""
    for pid, (mutant, deadline) in list(running.items()):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if not ended and time.monotonic() < deadline:
            continue
        if not ended:
            os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
        outcomes[mutant] = Outcome.SURVIVED if status == 0 else Outcome.KILLED
        del running[pid]
    time.sleep(_POLL_SECONDS)


def _forked(run: Callable[[], int]) -> int:
    """Run in a fork without output; gives its process id."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    with contextlib.suppress(BaseException):
        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY_BYTES, MOST_MEMORY_BYTES))
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        code = run()
    os._exit(code)


def _pytest(tests: Sequence[str], plugins: list[Any]) -> int:
    """Run tests until the first failure, the same examples every time, none of them made smaller.

    Being slow is no failure here: a busy machine would be taken for tests that notice everything.
    """
    hypothesis.settings.register_profile(
        "mutation",
        derandomize=True,
        database=None,
        deadline=None,
        phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
    )
    hypothesis.settings.load_profile("mutation")
    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--rootdir", str(ROOT)]
    options += ["--assert=plain"]  # nobody reads why a mutant was noticed
    os.chdir(ROOT)
    sys.path[:0] = [str(ROOT), *(str(ROOT / folder) for folder in SOURCE_FOLDERS)]
    return int(pytest.main([*options, *tests], plugins=plugins))


def _statement(mutant: Mutant) -> tuple[int, int]:
    """First and last line of the statement that was changed; of a compound one, of its head."""
    first, last = mutant.line, mutant.end_line
    best = (first, last)
    for node in ast.walk(ast.parse((ROOT / mutant.module).read_text())):
        if not isinstance(node, ast.stmt) or not node.lineno <= first <= (node.end_lineno or 0):
            continue
        body = getattr(node, "body", None)
        end = body[0].lineno - 1 if body else node.end_lineno or node.lineno
        if node.lineno <= first <= max(end, node.lineno):
            best = (node.lineno, max(end, node.lineno, last))
    return best
