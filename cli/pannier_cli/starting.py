"""What keeps a long-running command from starting, told in one message with one exit code."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from pannier.options import SettingsInvalid
from pannier_cli.exit_codes import ExitCode
from pannier_cli.failures import CommandFailed


@contextlib.contextmanager
def starting(command: str, *cannot: type[Exception]) -> Iterator[None]:
    """Turn bad settings, and these errors of the process itself, into a `CommandFailed`."""
    try:
        yield
    except SettingsInvalid as invalid:
        hint = f"`pannier {command} --help` lists all."
        raise CommandFailed(str(invalid), exit_code=ExitCode.CANNOT_START, hint=hint) from invalid
    except cannot as fault:
        raise CommandFailed(str(fault), exit_code=ExitCode.CANNOT_START) from fault
