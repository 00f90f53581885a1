"""Whether a function's types fit its FeatureGroup: decided at start, each refusal with a reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pannier.catalog import CatalogGroup
from pannier.errors import Problem
from pannier_ondemand.declaring import Computation
from pannier_ondemand.feature_types import expected, fits
from pannier_ondemand.input_fitting import input_misfits


def misfits(computation: Computation, groups: Mapping[str, CatalogGroup]) -> Iterator[Problem]:
    """Every reason why the function cannot compute its group, which may be none of these."""
    name, group = computation.group, groups.get(computation.group)
    if group is None:
        yield Problem(name, "GroupUndeclared", "no FeatureGroup of the specs has this groupName")
        return
    if group.on_demand is None:
        yield Problem(name, "GroupStored", "is stored: only groups with storage.mode None are computed")
        return
    served = {feature.name: feature for feature in group.features if feature.state != "Removed"}
    for feature in sorted(computation.features.keys() - served.keys()):
        yield Problem(
            f"{name}.{feature}", "FeatureUndeclared", "is returned; the FeatureGroup does not declare it"
        )
    for feature, declared in served.items():
        if feature not in computation.features:
            message = "is declared; the function does not return it"
            yield Problem(f"{name}.{feature}", "FeatureNotReturned", message)
        elif not fits(computation.features[feature], declared):
            message = f"is {expected(declared)} is returned for it, not {computation.features[feature]}"
            yield Problem(f"{name}.{feature}", "FeatureTypeMismatch", message)
    yield from input_misfits(computation, groups)
