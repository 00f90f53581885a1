"""A pod that asks for a sidecar -> the pod with it. Pure, on plain documents, so that what is not ours stays.

Asked again it gives the same pod: what it added is taken out and added anew, so that another webhook's change
to our container (one that dropped ``restartPolicy``, or that added a volume mount of credentials to the app
after we ran) is repaired by the API server's second call.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from pannier.errors import Problem
from pannier_operator.injection.template import CONTAINER, Json, Template, memory_mib
from pannier_operator.injection.wishes import INJECTED, INJECTED_VALUE, Wishes, wishes_of

_IDENTITY: Final = frozenset(
    {
        "AWS_ROLE_ARN",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_STS_REGIONAL_ENDPOINTS",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    }
)
"""What AWS's own webhooks give to containers that are there when they run (IRSA, EKS Pod Identity)."""
_TOKEN_FILES: Final = ("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
_LISTS: Final = ("containers", "initContainers", "ephemeralContainers")


class Mutation(NamedTuple):
    """What becomes of one pod."""

    pod: Json | None = None
    """The pod with its sidecar; None = it stays as it is."""
    refusal: Problem | None = None
    warnings: tuple[str, ...] = ()


def mutate(pod: Json, template: Template) -> Mutation:
    """Add the sidecar, or say why not."""
    annotations = pod["metadata"].get("annotations") or {}
    wishes = wishes_of(annotations, template)
    if isinstance(wishes, Problem):
        return Mutation(refusal=wishes)
    bare = _without(pod, template) if INJECTED in annotations else pod
    reason = next(_reasons_to_skip(bare.get("spec") or {}, template), None)
    if reason is not None:
        return Mutation(warnings=(f"no Pannier sidecar was added: {reason}",))
    return Mutation(pod=_with(bare, template, wishes))


def patch_of(before: Json, after: Json) -> list[Json]:
    """JSON patch (RFC 6902) between two pods: whole members, since ``add`` replaces what is there."""
    pairs = [
        (path, before[part].get(name), after[part].get(name))
        for part, names in (
            ("metadata", ("annotations",)),
            ("spec", ("initContainers", "containers", "volumes")),
        )
        for name in names
        for path in (f"/{part}/{name}",)
    ]
    return [{"op": "add", "path": path, "value": now} for path, was, now in pairs if now != was]


def _reasons_to_skip(spec: Json, template: Template) -> Iterator[str]:
    if spec.get("hostNetwork"):
        yield "the pod has the node's network, where its ports would be open to everyone (hostNetwork)"
    if (spec.get("os") or {}).get("name") == "windows":
        yield "there is none for Windows (os.name)"
    for kind in _LISTS:
        for container in spec.get(kind) or ():
            if container["name"] == CONTAINER:
                yield f"the pod brings a container of that name itself ({kind})"
            taken = {port.get("containerPort") for port in container.get("ports") or ()} & template.ports
            if taken:
                yield f"container {container['name']} takes port {min(taken)}, which is the sidecar's"
    for volume in spec.get("volumes") or ():
        if volume["name"] in template.volume_names:
            yield f"the pod has a volume {volume['name']}, a name that is the sidecar's"


def _without(pod: Json, template: Template) -> Json:
    """The pod without what was added before."""
    bare = copy.deepcopy(pod)
    spec = bare["spec"]
    spec["initContainers"] = [c for c in spec.get("initContainers") or () if c["name"] != CONTAINER]
    spec["volumes"] = [v for v in spec.get("volumes") or () if v["name"] not in template.volume_names]
    for container in _app_containers(spec):
        if container.get("volumeMounts"):
            mounts = [m for m in container["volumeMounts"] if m not in template.app_mounts]
            container["volumeMounts"] = mounts
    return bare


def _with(pod: Json, template: Template, wishes: Wishes) -> Json:
    full = copy.deepcopy(pod)
    spec = full["spec"]
    full["metadata"]["annotations"] = {
        **(full["metadata"].get("annotations") or {}),
        INJECTED: INJECTED_VALUE,
    }
    others = spec.get("initContainers") or []
    ours = [_container(spec, template, wishes)]
    spec["initContainers"] = ours + others if wishes.order == "First" else others + ours
    spec["volumes"] = [*(spec.get("volumes") or ()), *copy.deepcopy(template.volumes)]
    for container in _app_containers(spec):
        mounts = container.get("volumeMounts") or []
        container["volumeMounts"] = [*mounts, *(m for m in template.app_mounts if m not in mounts)]
    return full


def _app_containers(spec: Json) -> Iterator[Json]:
    yield from spec.get("containers") or ()
    yield from (c for c in spec.get("initContainers") or () if c["name"] != CONTAINER)


def _container(spec: Json, template: Template, wishes: Wishes) -> Json:
    """The sidecar of this pod."""
    container = copy.deepcopy(template.container)
    container["args"] = [
        *container.get("args", ()),
        f"--l1-bytes={wishes.l1_mib}MiB",
        f"--log-level={wishes.log_level}",
    ]
    memory = f"{memory_mib(wishes.l1_mib)}Mi"
    container["resources"] = {
        "requests": {"cpu": wishes.cpu, "memory": memory},
        "limits": {"memory": memory},
    }
    environment, mounts = _identity(spec)
    given = {variable["name"] for variable in container.get("env", ())}
    container["env"] = [*container.get("env", ()), *(v for v in environment if v["name"] not in given)]
    container["volumeMounts"] = [*container.get("volumeMounts", ()), *mounts]
    return container


def _identity(spec: Json) -> tuple[list[Json], list[Json]]:
    """What an AWS webhook that ran before gave to the app: variables, and mounts of the tokens they name."""
    for container in spec.get("containers") or ():
        found: list[Json] = [v for v in container.get("env") or () if v["name"] in _IDENTITY]
        if found:
            files = [v.get("value", "") for v in found if v["name"] in _TOKEN_FILES]
            mounts = [m for m in container.get("volumeMounts") or () if _holds(m, files)]
            return copy.deepcopy(found), copy.deepcopy(mounts)
    return [], []


def _holds(mount: dict[str, Any], files: list[str]) -> bool:
    return any(file.startswith(mount["mountPath"].rstrip("/") + "/") for file in files)
