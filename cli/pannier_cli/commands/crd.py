"""``pannier crd``: the CustomResourceDefinition that this version brings."""

from __future__ import annotations

import click

from pannier.crd import crd_yaml


@click.command()
def crd() -> None:
    """Print the CustomResourceDefinition as YAML, which kubectl apply --server-side -f - takes."""
    click.echo(crd_yaml(), nl=False)
