"""``python -m pannier_ondemand module:name --specs DIR``: serve until told to stop."""

from __future__ import annotations

import asyncio
import importlib
import logging
import signal
import ssl
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from pannier.errors import SpecInvalid
from pannier.option_values import address
from pannier_ondemand.certificate import ServingCertificate
from pannier_ondemand.declaring import FeatureServer
from pannier_ondemand.exchange import Exchange
from pannier_ondemand.http_port import HttpPort
from pannier_ondemand.metrics import Metrics
from pannier_ondemand.spec_files import groups_of


@click.command("python -m pannier_ondemand")
@click.argument("app", metavar="MODULE:NAME")
@click.option(
    "--specs",
    required=True,
    multiple=True,
    type=click.Path(path_type=Path),
    help="Directory of FeatureGroups, those that inputs come from included; may be repeated.",
)
@click.option("--http", default="0.0.0.0:8080", show_default=True, help="HOST:PORT to listen at.")
@click.option("--path", default="/v1/features", show_default=True, help="Path of the call.")
@click.option(
    "--threads",
    type=click.IntRange(1),
    default=8,
    show_default=True,
    help="For functions that are not async.",
)
@click.option(
    "--max-in-flight", type=click.IntRange(1), default=64, show_default=True, help="Calls; beyond it 503."
)
@click.option(
    "--drain-seconds", type=click.FloatRange(0), default=10.0, show_default=True, help="Time for a stop."
)
@click.option("--certificate", type=click.Path(path_type=Path), help="PEM of a chain: serve HTTPS.")
@click.option("--key", type=click.Path(path_type=Path), help="PEM of its key. Both may be renewed.")
def main(  # noqa: PLR0913, PLR0917 - one parameter per flag
    app: str,
    specs: Sequence[Path],
    http: str,
    path: str,
    threads: int,
    max_in_flight: int,
    drain_seconds: float,
    certificate: Path | None,
    key: Path | None,
) -> None:
    """Serve the functions of a FeatureServer, named as module:name."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        counted = Metrics()
        exchange = Exchange(
            load(app), groups_of(*specs), metrics=counted, threads=threads, max_in_flight=max_in_flight
        )
        port = address(http)
        tls = trusted_by(certificate, key)
    except SpecInvalid as invalid:
        lines = "\n".join(f"  {problem.reason} {problem}" for problem in invalid.problems)
        raise click.ClickException(f"the functions cannot be served:\n{lines}") from invalid
    except ValueError as error:
        raise click.ClickException(str(error)) from error

    async def serve() -> None:
        async with HttpPort(
            exchange, counted, at=port, path=path, drain_seconds=drain_seconds, tls=tls
        ) as listening:
            stop = asyncio.Event()
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, stop.set)
            where = f"http{'s' if tls else ''}://{listening.address}"
            logging.getLogger("pannier_ondemand").info("serving %r at %s", exchange, where)
            await stop.wait()

    try:
        asyncio.run(serve())
    except OSError as error:
        raise click.ClickException(f"--http {http}: {error.strerror or error}") from error


def trusted_by(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """Serve with this pair; None = in plain text. Raises ValueError where it is none."""
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise ValueError("--certificate and --key go together")
    try:
        return ServingCertificate(certificate, key).context
    except OSError as error:
        raise ValueError(f"--certificate {certificate}, --key {key}: {error}") from error


def load(app: str) -> FeatureServer:
    """Import ``module:name``; raises ValueError where there is no FeatureServer."""
    module, colon, name = app.partition(":")
    sys.path.insert(0, "")
    try:
        found = getattr(importlib.import_module(module), name if colon else "server")
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{app!r} cannot be imported: {error}") from error
    if not isinstance(found, FeatureServer):
        raise ValueError(f"{app!r} is no FeatureServer, such as module:server")  # noqa: TRY004 - of the command line
    return found


if __name__ == "__main__":
    main()
