"""What an exit status of ``pannier`` means. Scripts rely on these numbers: they never change meaning."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Documented for users in docs/reference/cli.md, in the same order."""

    OK = 0
    REFUSED = 1
    """The input is invalid, or the sidecar refused it, or a write was not written."""
    USAGE = 2
    """The command line itself is wrong (click's own number)."""
    UNREACHABLE = 3
    """No sidecar answers at the address."""
    MISSING = 4
    """``get``: the store says that at least one of the ids does not exist."""
    UNKNOWN = 5
    """A tier gave no answer for at least one row: neither found nor missing, written or not written."""
    NOT_INSTALLED = 6
    """Something that the command needs is not installed (an extra, wrk, redis-server)."""
    CANNOT_START = 7
    """``serve``, ``operator``, ``webhook``: a setting, an address or a file cannot be used."""
