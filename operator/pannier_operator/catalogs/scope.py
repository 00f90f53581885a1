"""In which namespaces an operator publishes. Pure."""

from __future__ import annotations

from collections.abc import Collection


def not_published_in(namespace: str, scope: Collection[str]) -> str | None:
    """Say why nothing is published in a namespace; None = it is. An empty scope = all namespaces."""
    if not scope or namespace in scope:
        return None
    return f"this operator does not publish in namespace {namespace} (--namespaces)"
