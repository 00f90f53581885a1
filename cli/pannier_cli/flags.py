"""The settings of a component as flags of its command."""

from __future__ import annotations

import click

from pannier.options import Option


def flag(option: Option) -> click.Option:
    """Make the command-line flag of one setting."""
    default = f" Default {option.default}." if option.default and not option.is_switch else ""
    return click.Option(
        [option.flag, option.name],
        is_flag=option.is_switch,
        default=None,
        metavar=None if option.is_switch else option.metavar,
        help=f"{option.help}{default}  [env: {option.env}]",
    )
