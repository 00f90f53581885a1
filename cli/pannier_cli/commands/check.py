"""``pannier check``: whether an installation is well, and what to do where it is not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import click
from rich.markup import escape

from pannier_cli.console import console, print_json, visible
from pannier_cli.exit_codes import ExitCode
from pannier_cli.in_cluster import in_cluster, kubeconfig_option
from pannier_cli.options import json_option

if TYPE_CHECKING:
    from pannier_operator.checks.verdicts import Line
    from pannier_operator.kube.api_client import KubeApi

_MARKS: Final = {
    "ok": "[green]ok[/]     ",
    "warning": "[yellow]warning[/]",
    "failed": "[bold red]failed[/] ",
    "unknown": "[yellow]unknown[/]",
}


@click.command()
@kubeconfig_option
@click.option("--namespace", "-n", default="pannier-system", show_default=True, help="Of the release.")
@click.option("--release", default="pannier", show_default=True, help="First part of its objects' names.")
@click.option(
    "--apps", default="default", show_default=True, help="Namespace in which a pod is tried (dry run)."
)
@json_option
def check(kubeconfig: str | None, namespace: str, release: str, apps: str, *, as_json: bool) -> None:
    """Check an installation in a cluster, from CRD to sidecars; changes nothing.

    Looks with your own rights, through the API server alone. Exits with 1 where something has failed or
    could not be looked at.
    """
    lines = in_cluster("check", kubeconfig, lambda api: _inspected(api, namespace, release, apps))
    if as_json:
        print_json([line._asdict() for line in lines])
    else:
        _show(lines)
    well = all(line.state in {"ok", "warning"} for line in lines)
    raise SystemExit(ExitCode.OK if well else ExitCode.REFUSED)


async def _inspected(api: KubeApi, namespace: str, release: str, apps: str) -> Sequence[Line]:
    from pannier_operator.checks.inspection import Inspection  # noqa: PLC0415 - the help needs no extra
    from pannier_operator.clock import SystemClock  # noqa: PLC0415

    return await Inspection(api, SystemClock(), home=namespace, release=release, apps=apps).lines()


def _show(lines: Sequence[Line]) -> None:
    out = console()
    width = max(len(line.name) for line in lines)
    for line in lines:
        message = escape(visible(line.message))
        out.print(f"{_MARKS[line.state]} {line.name:{width}}  {message}", soft_wrap=True)
        if line.remedy and line.state != "ok":
            out.print(f"        {'':{width}}  [cyan]{escape(visible(line.remedy))}[/]", soft_wrap=True)
    count = sum(line.state in {"failed", "unknown"} for line in lines)
    told = "all is well" if not count else f"{count} of {len(lines)} to look into"
    out.print(f"[{'green' if not count else 'bold red'}]{told}[/]")
