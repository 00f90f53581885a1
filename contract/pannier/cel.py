"""A rule between fields, once: as CEL for the API server and as Python for everybody else.

The CEL text goes into the CRD, so that a rule holds while no operator runs; ``holds`` is the same rule
over the models. The sentence is shared, and a test drives both over one table of cases. The rules
themselves are in `pannier.rules` (one object) and `pannier.transitions` (an edit of one).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from pannier.errors import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule of one object; ``at`` is where ``self`` stands, such as ``spec.features[]``."""

    at: str
    reason: str
    message: str
    cel: str
    holds: Callable[[Any], bool]
    field: str = ""
    """The field below ``at`` that the sentence is about, if there is just one."""
    culprits: Callable[[Any], Iterable[str]] | None = None
    """Where in a list the fault lies, as paths below ``at``; the API server can only name the list."""

    def problems(self, root: BaseModel) -> Iterator[Problem]:
        """Name every place where the rule is broken."""
        for path, node in nodes_at(root, self.at):
            if not self.holds(node):
                below = (
                    list(self.culprits(node)) if self.culprits else [f".{self.field}" if self.field else ""]
                )
                yield from (Problem((path + end).strip("."), self.reason, self.message) for end in below)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransitionRule:
    """A rule of an edit; asked only where ``at`` is there before and after, as the API server does it."""

    at: str
    reason: str
    message: str
    cel: str
    holds: Callable[[Any, Any], bool]
    field: str = ""
    """As in `Rule`."""

    def problems(self, old: BaseModel, new: BaseModel) -> Iterator[Problem]:
        """Name every place where the edit breaks the rule. Items of lists correspond by their ``id``."""
        before = {_identity(path, node): node for path, node in nodes_at(old, self.at)}
        for path, node in nodes_at(new, self.at):
            previous = before.get(_identity(path, node))
            if previous is not None and not self.holds(node, previous):
                end = f".{self.field}" if self.field else ""
                yield Problem((path + end).strip("."), self.reason, self.message)


def nodes_at(root: BaseModel, at: str) -> Iterator[tuple[str, Any]]:
    """Walk to every present node of a path; ``[]`` stands for each item of a list."""
    found: list[tuple[str, Any]] = [("", root)]
    for step in at.split(".") if at else ():
        name = step.removesuffix("[]")
        below = [(f"{path}.{name}".strip("."), child(node, name)) for path, node in found]
        found = [(path, node) for path, node in below if node is not None]
        if step.endswith("[]"):
            found = [(f"{path}[{i}]", item) for path, items in found for i, item in enumerate(items)]
    yield from found


def child(node: BaseModel, alias: str) -> Any:
    """Read a field by the name it has in YAML."""
    return next(getattr(node, name) for name, f in type(node).model_fields.items() if f.alias == alias)


def _identity(path: str, node: Any) -> object:
    """Items of ``features[]`` are told apart by id, since the order of the list carries no meaning."""
    return ("id", node.id) if path.endswith("]") else path
