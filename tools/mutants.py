"""Make mutants of modules with Cosmic Ray, one JSON object a line: what could be changed, and a sample of it.

Runs in .tools/mutation-venv, which holds Cosmic Ray and nothing of this project; `tools/mutation.py` runs the
tests against what comes out. Left out is what no test can see: annotations (never evaluated here), the texts
of ``__repr__``, what a class promises to mypy and the collector, the star of a parameter list, and
identity in the place of equality or the reverse, which mean the same for None, enums and small numbers.
"""

from __future__ import annotations

import argparse
import ast
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

IDENTITY = frozenset({"Is", "IsNot"})
EQUALITY = frozenset({"Eq", "NotEq"})
PROMISES = frozenset({"frozen", "gc"})
"""Keywords of a class: mypy refuses to assign to what is frozen, the collector alone knows of the other."""
Position = tuple[int, int]


class Mutant(NamedTuple):
    """A place where an operator can change a module."""

    operator: str
    occurrence: int
    start: Position
    end: Position


def main() -> None:
    """Print the mutants of the modules named."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sample", type=int, required=True, help="of each module, at most")
    parser.add_argument("--seed", default="0")
    parser.add_argument("modules", nargs="+", type=Path)
    arguments = parser.parse_args()
    for module in arguments.modules:
        source = module.read_text()
        program = ast.dump(ast.parse(source))
        possible = list(mutants_of(source))
        print(json.dumps({"module": str(module), "possible": len(possible)}))
        dice = random.Random(f"{arguments.seed} {module}")
        for mutant in sorted(
            dice.sample(possible, min(arguments.sample, len(possible))), key=lambda m: m.start
        ):
            changed = _changed(source, mutant)
            if changed is not None and ast.dump(ast.parse(changed)) != program:
                print(json.dumps(_told(module, source, mutant, changed)))


def mutants_of(source: str) -> Iterator[Mutant]:
    """Every mutant that a test could tell from the module."""
    tree, unseen = get_ast(source), _unseen(source)
    for name in operator_names():
        operator = get_operator(name)
        if operator.arguments() or _is_twice_there(name):
            continue
        places = (place for node in ast_nodes(tree) for place in operator().mutation_positions(node))
        for occurrence, (start, end) in enumerate(places):
            if not any(first <= start and end <= last for first, last in unseen):
                yield Mutant(name, occurrence, start, end)


def _is_twice_there(name: str) -> bool:
    """Whether another operator, or none at all, does the same: identity is equality here."""
    before, _, after = name.rpartition("/")[2].partition("_")[2].partition("_")
    return after in IDENTITY | EQUALITY and (before in IDENTITY) is not (after in IDENTITY)


def _unseen(source: str) -> list[tuple[Position, Position]]:
    """Where a change has no effect that a test could assert."""
    places: list[ast.AST] = []
    stars: list[tuple[Position, Position]] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            places += [node] if node.name == "__repr__" else [node.returns] if node.returns else []
            stars += _star(node)
        elif isinstance(node, ast.arg | ast.AnnAssign) and node.annotation is not None:
            places.append(node.annotation)
        elif isinstance(node, ast.ClassDef):
            places += [keyword for keyword in node.keywords if keyword.arg in PROMISES]
    return stars + [(_start(place), _end(place)) for place in places]


def _star(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[tuple[Position, Position]]:
    """Where the star is that makes arguments go by name alone; Cosmic Ray takes it for a multiplication."""
    arguments = function.args
    if not arguments.kwonlyargs:
        return []
    before = [*arguments.posonlyargs, *arguments.args, *arguments.defaults]
    return [(max(map(_end, before), default=_start(function)), _start(arguments.kwonlyargs[0]))]


def _start(node: ast.AST) -> Position:
    return node.lineno, node.col_offset  # type: ignore[attr-defined]


def _end(node: ast.AST) -> Position:
    return node.end_lineno, node.end_col_offset  # type: ignore[attr-defined]


def _changed(source: str, mutant: Mutant) -> str | None:
    try:
        changed: str = mutate_code(source, get_operator(mutant.operator)(), mutant.occurrence)
        ast.parse(changed)
    except (AttributeError, SyntaxError):
        # Cosmic Ray cannot replace an exception with a dotted name, and negates what a walrus assigns to
        return None
    return changed


def _told(module: Path, source: str, mutant: Mutant, changed: str) -> dict[str, object]:
    before, after = source.splitlines(), changed.splitlines()
    first = next(
        (i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), mutant.start[0] - 1
    )
    return {
        "module": str(module),
        "operator": mutant.operator.removeprefix("core/"),
        "line": mutant.start[0],
        "end_line": mutant.end[0],
        "before": before[first].strip(),
        "after": after[first].strip() if first < len(after) else "",
        "code": changed,
    }


if __name__ == "__main__":
    main()
