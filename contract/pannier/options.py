"""Settings as both components read them: a table of `Option`s, flags and environment -> values.

A flag wins over the environment, which wins over the default. The command line makes its flags of the same
table. What must hold between settings is each component's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from pannier.errors import PannierError, Problem
from pannier.option_values import one_of

LogFormat = Literal["auto", "json", "console"]


class SettingsInvalid(PannierError):
    """Nothing can start like this; ``problems`` names every bad setting."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        lines = "\n".join(f"  {problem}" for problem in self.problems)
        super().__init__(f"{len(self.problems)} bad setting(s):\n{lines}")


class Option(NamedTuple):
    """One setting: ``name`` is the attribute of `Settings`; flag and environment twin follow from it."""

    name: str
    metavar: str
    parser: Callable[[str], Any]
    default: str | None
    help: str
    is_switch: bool = False

    @property
    def flag(self) -> str:
        """How the command line spells it."""
        return "--" + self.name.replace("_", "-")

    @property
    def env(self) -> str:
        """How the environment spells it."""
        return "PANNIER_" + self.name.upper()


LOGGING: Final = (
    Option(
        "log_format",
        "auto|json|console",
        one_of("auto", "json", "console"),
        "auto",
        "auto: console on a terminal, JSON lines otherwise.",
    ),
    Option(
        "log_level",
        "LEVEL",
        one_of("debug", "info", "warning", "error"),
        "info",
        "What is logged at least.",
    ),
)
"""What every process can be told of its logs."""


def parse_options(
    options: Sequence[Option], flags: Mapping[str, str | bool | None], env: Mapping[str, str]
) -> tuple[dict[str, Any], list[Problem]]:
    """Parse every setting by itself: values by name (None where bad or absent), and what is wrong.

    ``flags`` holds by option name what the command line was given; None or absent where it was not.
    """
    problems: list[Problem] = []
    parsed: dict[str, Any] = {}
    for option in options:
        source, text = _given(option, flags, env)
        try:
            parsed[option.name] = (
                text if isinstance(text, bool) else None if text is None else option.parser(text)
            )
        except ValueError as error:
            parsed[option.name] = None
            problems.append(Problem(source, "InvalidSetting", str(error)))
    return parsed, problems


def _given(
    option: Option, flags: Mapping[str, str | bool | None], env: Mapping[str, str]
) -> tuple[str, str | bool | None]:
    """Where a setting's text comes from, and the text. An empty environment twin counts as absent."""
    given = flags.get(option.name)
    if given is not None and given is not False:
        return option.flag, given
    if env.get(option.env):
        return option.env, env[option.env]
    return option.flag, option.default
