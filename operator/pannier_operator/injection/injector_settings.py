"""Flags and environment of ``pannier webhook`` -> one frozen `InjectorSettings`, or all faults at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pannier import option_values as values
from pannier.errors import Problem
from pannier.option_values import Address
from pannier.options import LOGGING, LogFormat, Option, SettingsInvalid, parse_options


@dataclass(frozen=True, slots=True, kw_only=True)
class InjectorSettings:
    """Everything ``pannier webhook`` can be told, checked."""

    listen: Address
    certificate: str
    key: str
    template: str
    authority: str | None
    admin: Address
    log_format: LogFormat
    log_level: str


OPTIONS: Final = (
    Option(
        "listen", "HOST:PORT", values.address, "0.0.0.0:8474", "Where pods are taken, over HTTPS, at /mutate."
    ),
    Option(
        "certificate",
        "FILE",
        values.path_text,
        None,
        "PEM of the certificate chain; loaded anew when it changes. May come later than the process.",
    ),
    Option("key", "FILE", values.path_text, None, "PEM of its key."),
    Option("template", "FILE", values.path_text, None, "YAML of the sidecar, as the chart writes it."),
    Option(
        "authority",
        "FILE",
        values.path_text,
        None,
        "PEM of who vouches for the operator's catalog endpoint: sidecars trust it until their catalog is"
        " mounted. Absent: they wait for that.",
    ),
    Option("admin", "HOST:PORT", values.address, "0.0.0.0:8475", "Where health and metrics are served."),
    *LOGGING,
)
_NEEDED: Final = ("certificate", "key", "template")


def load(flags: Mapping[str, str | bool | None], env: Mapping[str, str]) -> InjectorSettings:
    """Check everything at once; raises `SettingsInvalid` naming every bad setting."""
    parsed, problems = parse_options(OPTIONS, flags, env)
    said = {problem.path for problem in problems}
    problems += [
        Problem(f"--{name}", "InvalidSetting", "is needed")
        for name in _NEEDED
        if parsed[name] is None and f"--{name}" not in said
    ]
    if problems:
        raise SettingsInvalid(problems)
    return InjectorSettings(**parsed)
