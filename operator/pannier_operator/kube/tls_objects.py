"""Where certificates lie in a cluster: two Secrets, and the ``caBundle`` of webhook configurations."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from pannier_operator.kube.api_client import KubeApi
from pannier_operator.setting_values import Hook

Data = Mapping[str, str]
_CONFIGURATIONS: Final = {
    "mutating": "mutatingwebhookconfigurations",
    "validating": "validatingwebhookconfigurations",
}


class StoredSecret(NamedTuple):
    """A Secret as it was seen."""

    data: Data
    resource_version: str


class TlsObjects:
    """Secrets of a namespace and configurations of the cluster; all are there, since the chart makes them."""

    def __init__(self, api: KubeApi, namespace: str) -> None:
        self._api = api
        self._secrets = f"/api/v1/namespaces/{namespace}/secrets"

    async def read(self, name: str) -> StoredSecret:
        """Read a Secret; raises `KubeFault`."""
        found = await self._api.get(f"{self._secrets}/{name}")
        data = {key: _text(value) for key, value in (found.get("data") or {}).items()}
        return StoredSecret(data, found["metadata"]["resourceVersion"])

    async def write(self, name: str, data: Data, seen: StoredSecret) -> None:
        """Write all that a Secret holds, if it is as it was seen; raises `KubeFault`."""
        gone: dict[str, None] = dict.fromkeys(seen.data.keys() - data.keys())
        body = {
            "metadata": {"resourceVersion": seen.resource_version},
            "data": gone | {key: base64.b64encode(text.encode()).decode() for key, text in data.items()},
        }
        await self._api.merge(f"{self._secrets}/{name}", body)

    async def publish(self, hook: Hook, bundle: str) -> bool:
        """Have the API server trust this bundle for a webhook; says whether it had to be told."""
        path = f"/apis/admissionregistration.k8s.io/v1/{_CONFIGURATIONS[hook.kind]}/{hook.name}"
        found = await self._api.get(path)
        encoded = base64.b64encode(bundle.encode()).decode()
        webhooks: Sequence[dict[str, Any]] = found.get("webhooks") or []
        if all(one["clientConfig"].get("caBundle") == encoded for one in webhooks):
            return False
        for one in webhooks:
            one["clientConfig"]["caBundle"] = encoded
        # the list is replaced whole, so only if nobody else changed it meanwhile
        version = found["metadata"]["resourceVersion"]
        await self._api.merge(path, {"metadata": {"resourceVersion": version}, "webhooks": webhooks})
        return True

    def __repr__(self) -> str:
        return f"<TlsObjects in {self._secrets}>"


def _text(value: str) -> str:
    """What is no text counts as nothing: it is made anew."""
    try:
        return base64.b64decode(value).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
