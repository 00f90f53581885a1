"""The sidecar as the chart describes it, once for the webhook and for the policy: container, volumes, bounds.

It holds everything that does not depend on the pod. What a pod may choose is added by
`pannier_operator.injection.mutation`, and by the chart's policy in the same way.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from pannier.errors import PannierError
from pannier_operator.errors import CannotStart

CONTAINER: Final = "pannier-sidecar"
_ASKS: Final = "--operator-url="
Json = dict[str, Any]


class TemplateInvalid(PannierError):
    """The file is no template of a sidecar."""


class Choices(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """What a pod gets that chooses nothing."""

    l1_mib: int
    cpu: str
    log_level: str


class Bounds(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """The most that a pod may choose."""

    l1_mib: int
    cpu: str


class Template(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """The file that the chart writes."""

    container: Json
    volumes: list[Json]
    app_mounts: list[Json]
    """What every container of the app gets mounted: the directory of the socket."""
    defaults: Choices
    most: Bounds

    @property
    def volume_names(self) -> frozenset[str]:
        """Names that no volume of the app may have."""
        return frozenset(volume["name"] for volume in self.volumes)

    @property
    def ports(self) -> frozenset[int]:
        """Ports that the sidecar takes in the pod's network."""
        return frozenset(port["containerPort"] for port in self.container.get("ports", ()))


def vouching(template: Template, authority: str) -> Template:
    """Give the sidecar whom to trust at the operator's catalog endpoint, until a catalog brings that.

    The catalog of a namespace's first group is not mounted before the kubelet looks again, a minute later.
    """
    container = template.container
    asks = any(str(argument).startswith(_ASKS) for argument in container.get("args", ()))
    if not authority or not asks:
        return template
    trust = {"name": "PANNIER_OPERATOR_AUTHORITY", "value": authority}
    return msgspec.structs.replace(
        template, container={**container, "env": [*container.get("env", ()), trust]}
    )


def read_template(text: str) -> Template:
    """Read the file; raises `TemplateInvalid`."""
    try:
        template = msgspec.convert(yaml.safe_load(text), Template)
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        raise TemplateInvalid(f"no template of a sidecar: {error}") from error
    if template.container.get("name") != CONTAINER:
        raise TemplateInvalid(f"the container's name must be {CONTAINER}")
    return template


def template_in(file: str, flag: str) -> Template:
    """Read the file that a flag names; raises `CannotStart`."""
    try:
        return read_template(Path(file).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, TemplateInvalid) as error:
        raise CannotStart(f"{flag} {file}: {error}") from error


def memory_mib(l1_mib: int) -> int:
    """Memory of a sidecar: the process, and a quarter beside what L1 counts (measured by `make soak`)."""
    return 160 + l1_mib * 5 // 4
