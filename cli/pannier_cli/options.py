"""Options that several commands share: where the sidecar is, and JSON for programs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click
from click.shell_completion import CompletionItem

from pannier_cli.client import DEFAULT_URL, Endpoint, Sidecar

Command = Callable[..., Any]


def endpoint_options(command: Command) -> Command:
    """Add ``--url`` and ``--uds``; the command gets them as one ``endpoint``."""

    @click.option(
        "--url",
        envvar="PANNIER_URL",
        show_envvar=True,
        default=DEFAULT_URL,
        show_default=True,
        help="Data address of the sidecar.",
    )
    @click.option(
        "--uds",
        envvar="PANNIER_UDS",
        show_envvar=True,
        metavar="PATH",
        help="Unix socket of the sidecar; wins over --url.",
    )
    @functools.wraps(command)
    def run(*args: Any, url: str, uds: str | None, **options: Any) -> Any:
        return command(*args, endpoint=Endpoint(url, uds), **options)

    return run


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


def complete_group(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete a group's name from what the sidecar serves; quiet where none answers."""
    del param
    endpoint = Endpoint(ctx.params.get("url") or DEFAULT_URL, ctx.params.get("uds"))
    try:
        with Sidecar(endpoint) as sidecar:
            names = [str(group["group"]) for group in sidecar.groups()]
    except (click.ClickException, KeyError):
        return []
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


group_argument = click.argument("group", shell_complete=complete_group)
