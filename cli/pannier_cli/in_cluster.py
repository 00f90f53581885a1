"""What commands about a cluster share: how its API server is reached, and what is said where it is not."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from pannier_cli.exit_codes import ExitCode
from pannier_cli.extras import extra_missing
from pannier_cli.failures import CommandFailed

if TYPE_CHECKING:
    from pannier_operator.kube.api_client import KubeApi

T = TypeVar("T")
_USUAL: Final = Path("~/.kube/config")


def kubeconfig_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--kubeconfig``."""
    told = "Default: KUBECONFIG, then ~/.kube/config."
    return click.option("--kubeconfig", metavar="FILE", help=told)(command)


def in_cluster(command: str, kubeconfig: str | None, look: Callable[[KubeApi], Awaitable[T]]) -> T:
    """Look at a cluster with the rights of whoever runs the command; raises `CommandFailed`."""
    try:
        from pannier_operator.errors import CannotStart, KubeFault  # noqa: PLC0415 - the help needs no extra

        return asyncio.run(_looked(kubeconfig, look))
    except ModuleNotFoundError as missing:
        raise extra_missing(command, missing) from missing
    except (CannotStart, KubeFault) as fault:
        raise CommandFailed(str(fault), exit_code=ExitCode.UNREACHABLE) from fault


async def _looked(kubeconfig: str | None, look: Callable[[KubeApi], Awaitable[T]]) -> T:
    from pannier_operator.kube.api_client import KubeApi  # noqa: PLC0415
    from pannier_operator.kube.credentials import find_credentials  # noqa: PLC0415

    usual = _USUAL.expanduser()
    if kubeconfig is None and not os.environ.get("KUBECONFIG") and usual.exists():
        kubeconfig = str(usual)
    async with (
        await find_credentials(kubeconfig) as credentials,
        KubeApi(
            credentials, may_write=lambda: None
        ) as api,  # whoever looks changes nothing: dry runs at most
    ):
        return await look(api)
