"""Parsers of settings that the operator alone has: lists of names. The others are `pannier.option_values`."""

from __future__ import annotations

from typing import Literal, NamedTuple

from pannier import option_values as values
from pannier.spec_base import DNS_LABEL_PATTERN, DNS_SUBDOMAIN_PATTERN


class Hook(NamedTuple):
    """One webhook configuration."""

    kind: Literal["mutating", "validating"]
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


def names(text: str) -> tuple[str, ...]:
    """Parse ``a,b``: names of namespaces."""
    one = values.matching(DNS_LABEL_PATTERN, "reco")
    return tuple(one(name.strip()) for name in text.split(","))


def dns_names(text: str) -> tuple[str, ...]:
    """Parse ``a.b.svc,c.d.svc``: DNS names."""
    one = values.matching(DNS_SUBDOMAIN_PATTERN, "pannier-injector.pannier-system.svc")
    return tuple(one(name.strip()) for name in text.split(","))


def hooks(text: str) -> tuple[Hook, ...]:
    """Parse ``mutating/NAME,validating/NAME``."""
    found = []
    for part in text.split(","):
        kind, slash, name = part.strip().partition("/")
        if not slash or kind not in {"mutating", "validating"}:
            raise ValueError(f"{part!r} is no mutating/NAME or validating/NAME")
        found.append(Hook(kind, values.matching(DNS_SUBDOMAIN_PATTERN, "pannier")(name)))  # type: ignore[arg-type]
    return tuple(found)
