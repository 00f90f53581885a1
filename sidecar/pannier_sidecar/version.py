"""The version that metrics, status and the OpenAPI document carry."""

from __future__ import annotations

from importlib import metadata
from typing import Final


def _installed() -> str:
    try:
        return metadata.version("pannier")
    except metadata.PackageNotFoundError:  # run from a checkout that is not installed
        return "0+checkout"


VERSION: Final = _installed()
