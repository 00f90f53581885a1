"""Rules of ``onDemand.inputs`` that one object can break. What lies between groups is `pannier.inputs`."""

from __future__ import annotations

from typing import Final

from pannier.cel import Rule
from pannier.spec import Spec

_INPUTS: Final = "!has(self.onDemand) || !has(self.onDemand.inputs)"


def _is_uncached(spec: Spec) -> bool:
    local = spec.cache.local if spec.cache else None
    return not _inputs(spec) or local is None or local.state in {None, "Disabled"}


def _inputs(spec: Spec) -> list[str]:
    return [one.group for one in (spec.on_demand and spec.on_demand.inputs) or ()]


INPUT_RULES: Final = (
    Rule(
        at="spec",
        reason="InputsCached",
        message="what is computed with inputs is never cached, since nobody would tell when one of them"
        " changes; leave cache.local.state Disabled",
        cel=f"{_INPUTS} || size(self.onDemand.inputs) == 0 || !has(self.cache) || !has(self.cache.local)"
        " || !has(self.cache.local.state) || self.cache.local.state == 'Disabled'",
        holds=_is_uncached,
        field="cache.local.state",
    ),
    Rule(
        at="spec",
        reason="InputCycle",
        message="a group cannot be an input of itself",
        cel=f"{_INPUTS} || self.onDemand.inputs.all(i, i.group != self.groupName)",
        holds=lambda spec: spec.group_name not in _inputs(spec),
        field="onDemand.inputs",
    ),
    Rule(
        at="spec.onDemand",
        reason="DuplicateInput",
        message="every input needs a name of its own",
        cel="!has(self.inputs) || self.inputs.all(i, self.inputs.exists_one(j, j.name == i.name))",
        holds=lambda spec: len({one.name for one in spec.inputs or ()}) == len(spec.inputs or ()),
        field="inputs",
    ),
    Rule(
        at="spec.onDemand.inputs[]",
        reason="InputIdMismatch",
        message="part is required with idFrom IdPart and forbidden otherwise",
        cel="(self.idFrom == 'IdPart') == has(self.part)",
        holds=lambda one: (one.id_from == "IdPart") == (one.part is not None),
        field="part",
    ),
    Rule(
        at="spec.onDemand.inputs[]",
        reason="InputIdMismatch",
        message="separator is for idFrom IdPart",
        cel="self.idFrom == 'IdPart' || !has(self.separator)",
        holds=lambda one: one.id_from == "IdPart" or one.separator is None,
        field="separator",
    ),
    Rule(
        at="spec.onDemand.inputs[]",
        reason="InputIdMismatch",
        message="contextKey is required with idFrom Context and forbidden otherwise",
        cel="(self.idFrom == 'Context') == has(self.contextKey)",
        holds=lambda one: (one.id_from == "Context") == (one.context_key is not None),
        field="contextKey",
    ),
)
