"""What a pod asks of its sidecar by annotations, checked: no typo goes unheard. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final, Literal, NamedTuple

from pannier.errors import Problem
from pannier_operator.injection.template import Bounds, Template

PREFIX: Final = "pannier.dev/"
L1: Final = PREFIX + "l1-mib"
CPU: Final = PREFIX + "cpu"
LOG_LEVEL: Final = PREFIX + "log-level"
ORDER: Final = PREFIX + "order"
INJECTED: Final = PREFIX + "injected"
"""Set on a pod that got its sidecar here."""
INJECTED_VALUE: Final = "sidecar"
INJECT: Final = PREFIX + "inject"
"""The label, of a pod or its namespace, that asks for a sidecar."""
_KNOWN: Final = (L1, CPU, LOG_LEVEL, ORDER, INJECTED)
_LEVELS: Final = ("debug", "info", "warning", "error")
_CPU: Final = re.compile(r"([0-9]{1,6})m|([0-9]{1,3}(?:\.[0-9]{1,3})?)")
LEAST_L1_MIB: Final = 8


class Wishes(NamedTuple):
    """What the sidecar of one pod is to be."""

    l1_mib: int
    cpu: str
    log_level: str
    order: Literal["First", "Last"]


def wishes_of(annotations: Mapping[str, str], template: Template) -> Wishes | Problem:
    """Read a pod's annotations; a `Problem` names the first bad one."""
    for name, value in sorted(annotations.items()):
        fault = _fault(name, value, template) if name.startswith(PREFIX) else None
        if fault is not None:
            return Problem(f"metadata.annotations[{name}]", "AnnotationInvalid", fault)
    defaults = template.defaults
    return Wishes(
        l1_mib=int(annotations.get(L1, defaults.l1_mib)),
        cpu=annotations.get(CPU, defaults.cpu),
        log_level=annotations.get(LOG_LEVEL, defaults.log_level),
        order="Last" if annotations.get(ORDER) == "Last" else "First",
    )


def _fault(name: str, value: str, template: Template) -> str | None:
    if name == INJECT:
        return f"{name} is a label, not an annotation: move it to metadata.labels"
    if name not in _KNOWN:
        near = difflib.get_close_matches(name, _KNOWN, n=1)
        hint = f"did you mean {near[0]}?" if near else f"it takes {', '.join(_KNOWN[:4])}"
        return f"no annotation {name}; {hint}"
    takes = _takes(name, value, template.most)
    return None if takes is None else f"{name} is {value!r}; it takes {takes}"


def _takes(name: str, value: str, most: Bounds) -> str | None:
    """What an annotation takes, where this value is none of it."""
    is_number = value.isascii() and value.isdecimal()
    fits, takes = {
        L1: (
            is_number and LEAST_L1_MIB <= int(value) <= most.l1_mib,
            f"a whole number of MiB from {LEAST_L1_MIB} to {most.l1_mib}",
        ),
        CPU: (_is_cpu(value, most.cpu), f"a CPU request such as 250m or 1, at most {most.cpu}"),
        LOG_LEVEL: (value in _LEVELS, ", ".join(_LEVELS)),
        ORDER: (value in {"First", "Last"}, "First (before other init containers) or Last"),
        INJECTED: (value == INJECTED_VALUE, f"{INJECTED_VALUE}, and is set by the injector alone"),
    }[name]
    return None if fits else takes


def _is_cpu(value: str, most: str) -> bool:
    cores, bound = _cores(value), _cores(most)
    return cores is not None and bound is not None and 0 < cores <= bound


def _cores(value: str) -> Decimal | None:
    match = _CPU.fullmatch(value)
    if match is None:
        return None
    return Decimal(match[1]) / 1000 if match[1] else Decimal(match[2])
