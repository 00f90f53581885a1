"""Settings of the operator that are about feature servers."""

from __future__ import annotations

from typing import Final, NamedTuple

from pannier import option_values as values
from pannier.options import Option
from pannier.spec_base import DNS_LABEL_PATTERN

ANY: Final = "*"


class Permission(NamedTuple):
    """FeatureGroups of one namespace may use Services of another; ``*`` on the left is every namespace."""

    groups_of: str
    services_of: str

    def __str__(self) -> str:
        return f"{self.groups_of}={self.services_of}"


def permissions(text: str) -> frozenset[Permission]:
    """Parse ``shop=ml,*=platform``: whose groups may use Services of which namespace."""
    one = values.matching(DNS_LABEL_PATTERN, "shop")
    found = set()
    for part in filter(None, text.split(",")):
        groups_of, equals, services_of = part.strip().partition("=")
        if not equals:
            raise ValueError(f"{part!r} is no NAMESPACE=NAMESPACE, such as shop=ml")
        found.add(Permission(groups_of if groups_of == ANY else one(groups_of), one(services_of)))
    return frozenset(found)


ON_DEMAND: Final = (
    Option(
        "on_demand_services",
        "A=B,...",
        permissions,
        "",
        "FeatureGroups of namespace A may use Services of namespace B; * for A is every namespace. A"
        " namespace's own Services may always be used, others only so.",
    ),
    Option(
        "on_demand_ca",
        "FILE",
        values.path_text,
        None,
        "PEM of the authorities that vouch for feature servers of scheme HTTPS, looked at anew with each use;"
        " published in catalogs as on-demand-ca.crt. Absent: the system's, for sidecars as well.",
    ),
    Option(
        "on_demand_at",
        "NAME.NAMESPACE=HOST:PORT,...",
        values.addresses_by_service,
        "",
        "Where the Services of feature servers are outside of a cluster. For development only.",
    ),
)
