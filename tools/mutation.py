"""Whether the tests notice when a pure module is changed: the share of mutants that they kill, per module.

    make mutation                         (SAMPLE=60 mutants of each module, SEED=1, MINUTES=20)
    .venv/bin/python tools/mutation.py --survivors --only contract/pannier/keys.py

Mutants come from Cosmic Ray (`tools/mutants.py`). Each is tried in a fork of this process, in memory: no file
changes. Of a module's tests only those run that reach the changed lines, the quickest first.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from mutation_runs import Mutant, Outcome, baseline_of, try_all
from steps import ROOT, TOOLS

LEAST_SHARE: Final = 0.85
PYTHON: Final = TOOLS / "mutation-venv" / "bin" / "python"
SURVIVORS: Final = TOOLS / "mutation-survivors.txt"


class Suite(NamedTuple):
    """Modules without I/O and the tests that state what they do. Another module is another line here."""

    modules: tuple[str, ...]
    tests: tuple[str, ...]


CONTRACT: Final = "contract/pannier"
VALUES: Final = ("attributes", "codec", "containers", "json_text", "scalars", "vector")
SIDECAR: Final = "sidecar/pannier_sidecar"
SUITES: Final = (
    Suite((f"{CONTRACT}/keys.py",), ("tests/contract/test_keys.py",)),
    Suite(  # beside these there is only `kind.py`, which holds an interface
        tuple(f"{CONTRACT}/values/{name}.py" for name in VALUES),
        ("tests/contract/test_values_*.py", "tests/contract/test_golden.py"),
    ),
    Suite((f"{SIDECAR}/entry/freshness.py",), ("tests/sidecar/test_freshness.py",)),
    Suite((f"{SIDECAR}/entry/record.py",), ("tests/sidecar/test_entry_record.py",)),
    Suite((f"{SIDECAR}/entry/timeline.py",), ("tests/sidecar/test_entry_timeline*.py",)),
    Suite(
        (f"{SIDECAR}/entry/envelope.py", f"{SIDECAR}/entry/announcement.py"),
        ("tests/sidecar/test_entry_envelope.py", "tests/sidecar/test_entry_announcement.py"),
    ),
    Suite(
        (f"{SIDECAR}/entry/ghost.py", f"{SIDECAR}/entry/lifetime.py", f"{SIDECAR}/policy_past.py"),
        (
            "tests/sidecar/test_entry_ghost.py",
            "tests/sidecar/test_entry_envelope.py",
            "tests/sidecar/test_policy_past.py",
        ),
    ),
    Suite((f"{SIDECAR}/ordering.py",), ("tests/sidecar/test_ordering.py",)),
    Suite((f"{SIDECAR}/circuit.py",), ("tests/sidecar/test_circuit.py",)),
    Suite((f"{SIDECAR}/tiers/eviction.py",), ("tests/sidecar/test_eviction.py",)),
    Suite((f"{SIDECAR}/tiers/fingerprints.py",), ("tests/sidecar/test_fingerprints.py",)),
    Suite((f"{SIDECAR}/admission.py",), ("tests/sidecar/test_admission.py",)),
    Suite((f"{SIDECAR}/overload.py",), ("tests/sidecar/test_overload.py",)),
)


def main() -> int:
    """Print the table; 1 where a module's share is too low."""
    arguments = _arguments()
    shares, ends = [], time.monotonic() + 60 * arguments.minutes
    print(f"{'module':<52}{'mutants':>8}{'tried':>7}{'killed':>8}{'survived':>10}{'share':>8}")
    survivors: list[str] = []
    for suite in SUITES:
        modules = [path for path in _paths(suite.modules) if not arguments.only or path in arguments.only]
        if not modules:
            continue
        baseline = baseline_of(modules, _paths(suite.tests))
        for module, possible, mutants in _mutants(modules, arguments):
            outcomes = try_all(mutants, baseline, workers=arguments.workers, until=ends)
            shares.append(_row(module, possible, outcomes))
            survivors += _lines(outcomes)
            SURVIVORS.write_text("\n".join(survivors) + "\n")
    print(f"\nsurvivors: {SURVIVORS.relative_to(ROOT)}")
    if arguments.survivors:
        print("\n".join(survivors))
    return int(min(shares, default=1.0) < LEAST_SHARE)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sample", type=int, default=60, help="mutants of each module, at most")
    parser.add_argument("--seed", default="1", help="which ones")
    parser.add_argument("--minutes", type=float, default=20.0, help="in all; what is left then is not tried")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", action="append", default=[], metavar="MODULE")
    parser.add_argument("--survivors", action="store_true", help="print what no test noticed")
    return parser.parse_args()


def _paths(patterns: Sequence[str]) -> list[str]:
    """Files by pattern."""
    return [str(path.relative_to(ROOT)) for pattern in patterns for path in sorted(ROOT.glob(pattern))]


def _mutants(
    modules: Sequence[str], arguments: argparse.Namespace
) -> Iterator[tuple[str, int, list[Mutant]]]:
    """Give each module, how many mutants it has, and those to try."""
    command = [str(PYTHON), str(ROOT / "tools" / "mutants.py"), "--sample", str(arguments.sample)]
    said = subprocess.run(
        [*command, "--seed", arguments.seed, *modules], check=True, capture_output=True, text=True, cwd=ROOT
    ).stdout
    lines = [json.loads(line) for line in said.splitlines()]
    for module in modules:
        mine = [line for line in lines if line["module"] == module]
        possible = next(line["possible"] for line in mine if "possible" in line)
        if not possible:
            continue  # a package that only gives names on
        yield module, possible, [Mutant(**line) for line in mine if "possible" not in line]


def _row(module: str, possible: int, outcomes: dict[Mutant, Outcome]) -> float:
    survived = sum(outcome is Outcome.SURVIVED for outcome in outcomes.values())
    tried = sum(outcome is not Outcome.NOT_TRIED for outcome in outcomes.values())
    share = (tried - survived) / tried if tried else 1.0
    print(f"{module:<52}{possible:>8}{tried:>7}{tried - survived:>8}{survived:>10}{share:>8.0%}", flush=True)
    return share


def _lines(outcomes: dict[Mutant, Outcome]) -> list[str]:
    return [
        f"{mutant.module}:{mutant.line} {mutant.operator}\n    - {mutant.before}\n    + {mutant.after}"
        for mutant, outcome in outcomes.items()
        if outcome is Outcome.SURVIVED
    ]


if __name__ == "__main__":
    sys.exit(main())
