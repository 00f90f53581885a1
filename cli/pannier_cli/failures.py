"""How a command fails: one sentence in red, what would help, and an exit code that means something.

Everything that a user can get wrong ends here; a traceback is a defect of Pannier.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import IO, Any

import click
from rich.markup import escape

from pannier_cli.console import error_console, visible
from pannier_cli.exit_codes import ExitCode


class CommandFailed(click.ClickException):
    """A command cannot do what was asked; ``hint`` says what would be right."""

    def __init__(self, message: str, *, exit_code: ExitCode = ExitCode.REFUSED, hint: str = "") -> None:
        super().__init__(message)
        self.exit_code = int(exit_code)  # type: ignore[misc]  # click declares it on the class
        self.hint = hint

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the sentence and the hint to standard error."""
        console = error_console(file)
        message = "\n".join(map(visible, self.message.split("\n")))
        console.print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True)
        if self.hint:
            console.print(f"[cyan]hint:[/] {escape(self.hint)}", soft_wrap=True)


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """``Did you mean 'x'?``, or every known name where none is near and they are few, or nothing."""
    names = sorted(known)
    near = get_close_matches(wrong, names, n=3, cutoff=0.6)
    if near:
        return f"Did you mean {' or '.join(repr(name) for name in near)}?"
    few = 12
    if names and len(names) <= few:
        return f"Known here: {', '.join(names)}."
    return ""
