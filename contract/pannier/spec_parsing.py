"""The way in: an object from YAML or JSON -> a sound `FeatureGroup`, or every fault in it.

The same sentences come from ``kubectl apply`` (the rules are CEL in the CRD), ``pannier validate`` and
``pannier serve --specs``. Reading files and knowing their lines is the sidecar's ``manifests``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import ValidationError

from pannier.errors import Problem, SpecInvalid
from pannier.feature_defaults import default_problems
from pannier.rules import broken_rules
from pannier.spec import DEFAULT_NAMESPACE, FeatureGroup
from pannier.spec_problems import null_problem, structural_problems


def parse_feature_group(raw: object, *, namespace: str = DEFAULT_NAMESPACE) -> FeatureGroup:
    """Make a FeatureGroup of decoded YAML or JSON; raises `SpecInvalid` with all that is wrong.

    Structure comes first, as on the API server: rules between fields are asked of well-formed objects only.
    ``namespace`` is where a manifest that names none belongs.
    """
    nulls = tuple(_nulls(raw, ()))
    try:
        group = FeatureGroup.model_validate(raw)
    except ValidationError as error:
        raise SpecInvalid(_once((*nulls, *structural_problems(error, FeatureGroup)))) from error
    problems = nulls or tuple(broken_rules(group)) or tuple(default_problems(group))
    if problems:
        raise SpecInvalid(problems)
    if "namespace" in group.metadata.model_fields_set:
        return group
    metadata = group.metadata.model_copy(update={"namespace": namespace})
    return group.model_copy(update={"metadata": metadata})


def _once(problems: tuple[Problem, ...]) -> list[Problem]:
    """Keep the first sentence about each place: "is null" says more than "takes text"."""
    return list({problem.path: problem for problem in reversed(problems)}.values())[::-1]


def _nulls(raw: object, location: tuple[str | int, ...]) -> Iterator[Problem]:
    """Find fields without a value. A feature's ``default`` may be null; metadata and status are not ours."""
    if raw is None and location:
        yield null_problem(location)
    elif isinstance(raw, Mapping):
        skipped = {"default"} if location else {"metadata", "status"}
        for name, value in raw.items():
            if name not in skipped:
                yield from _nulls(value, (*location, str(name)))
    elif isinstance(raw, list):
        for index, value in enumerate(raw):
            yield from _nulls(value, (*location, index))
