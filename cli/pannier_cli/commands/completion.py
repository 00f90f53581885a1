"""``pannier completion``: the script that teaches a shell to complete ``pannier``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from pannier_cli.failures import CommandFailed

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of SHELL.

    bash: pannier completion bash > ~/.local/share/bash-completion/completions/pannier
    """
    maker = get_completion_class(shell)
    if maker is None:
        raise CommandFailed(f"this version of click completes nothing for {shell}")
    root = ctx.find_root().command
    # source() of bash asks the bash on PATH for its version, and complains on standard error if it is too old
    click.echo(maker(root, {}, "pannier", "_PANNIER_COMPLETE").source())
