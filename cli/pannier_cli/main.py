"""``pannier``: finds the subcommand and imports nothing else.

Each subcommand lives in a module of its own that is imported when it runs, so that ``pannier --help`` is
quick and works without the extras that ``serve`` and ``bench`` need. Its short help stands here for the
same reason.
"""

from __future__ import annotations

import errno
import importlib
import importlib.metadata
import io
import os
import sys
from types import MappingProxyType
from typing import Any

import click
from click.shell_completion import CompletionItem

from pannier_cli.exit_codes import ExitCode
from pannier_cli.extras import extra_missing
from pannier_cli.failures import CommandFailed, did_you_mean

COMMANDS = MappingProxyType(
    {
        "serve": "Serve feature groups on localhost.",
        "operator": "Reconcile FeatureGroups of a cluster.",
        "webhook": "Add sidecars to pods of a cluster.",
        "validate": "Check FeatureGroup manifests and show what they come to.",
        "groups": "List what a sidecar serves.",
        "get": "Read features of ids.",
        "put": "Write features of an id, or many rows from a file.",
        "delete": "Delete rows of an id on every tier.",
        "status": "Show the state of a sidecar.",
        "check": "Check an installation in a cluster.",
        "crd": "Print the CustomResourceDefinition.",
        "bench": "Measure this sidecar on this machine.",
        "completion": "Print the completion script of a shell.",
    }
)
"""Subcommand -> short help; the module and the function bear the subcommand's name."""

_OUTPUT_FAULTS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF}
"""What writing to a file or a terminal can end in."""


class LazyGroup(click.Group):
    """A command group whose members are imported on use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every subcommand, in the order of the table."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one subcommand; None where there is none of that name."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        try:
            module = importlib.import_module(f"pannier_cli.commands.{cmd_name}")
        except ModuleNotFoundError as missing:
            raise extra_missing(cmd_name, missing) from missing
        command: click.Command = getattr(module, cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the subcommand that the arguments name; a near miss is told."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as unknown:
            hint = did_you_mean(args[0], COMMANDS)
            raise click.UsageError(f"{unknown.message} {hint}".rstrip(), ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of subcommands without importing them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete a subcommand's name without importing the others."""
        names = [CompletionItem(n, help=h) for n, h in COMMANDS.items() if n.startswith(incomplete)]
        return names + click.Command.shell_complete(self, ctx, incomplete)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 refused or invalid, 2 usage, 3 no sidecar reached, 4 a row is missing, "
    "5 a row is unknown, 6 something is not installed, 7 cannot start.",
)
@click.version_option(package_name="pannier", message="%(prog)s %(version)s")
def pannier() -> None:
    """Serve features declared as FeatureGroups: from memory, Redis and DynamoDB, on localhost."""


def main(**extra: Any) -> None:
    """Entry point of the console script."""
    _open_output()
    try:
        try:
            pannier(prog_name="pannier", **extra)
        finally:
            sys.stdout.flush()
    except (
        BrokenPipeError
    ):  # the reader has seen enough; Python would complain again when it closes the stream
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(ExitCode.REFUSED)
    except OSError as full:
        if full.errno not in _OUTPUT_FAULTS:
            raise
        CommandFailed(f"the output cannot be written: {full.strerror or full}").show()
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(ExitCode.REFUSED)


def _open_output() -> None:
    """Make output possible where it is closed, and any character where the terminal's encoding lacks it."""
    if sys.stdout is None or sys.stderr is None:
        nowhere = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - open as long as the process
        sys.stdout, sys.stderr = sys.stdout or nowhere, sys.stderr or nowhere
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
