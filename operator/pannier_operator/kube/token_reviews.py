"""Whose a service account's token is: asked of the API server, remembered for a minute."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from pannier_operator.kube.api_client import KubeApi

KEEP_SECONDS: Final = 60.0
"""How long an answer holds: a pod that is gone is believed for so long."""
MOST_KEPT: Final = 20_000
_PATH: Final = "/apis/authentication.k8s.io/v1/tokenreviews"
_ACCOUNT: Final = "system:serviceaccount:"
_POD: Final = "authentication.kubernetes.io/pod-name"


class Caller(NamedTuple):
    """Who bears a token."""

    namespace: str
    account: str
    pod: str
    """Empty where the token is bound to none."""


class TokenReviews:
    """Asks for one audience."""

    def __init__(self, api: KubeApi, audience: str, monotonic: Callable[[], float]) -> None:
        self._api = api
        self._audience = audience
        self._monotonic = monotonic
        self._kept: OrderedDict[bytes, tuple[float, Caller | None]] = OrderedDict()

    async def caller(self, token: str) -> Caller | None:
        """Say who bears it; None = it proves nothing. Raises `KubeFault`."""
        key, now = hashlib.sha256(token.encode()).digest(), self._monotonic()
        kept = self._kept.get(key)
        if kept is not None and now < kept[0]:
            return kept[1]
        found = self._read(await self._review(token))
        self._kept[key] = (now + KEEP_SECONDS, found)
        self._kept.move_to_end(key)
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return found

    async def _review(self, token: str) -> Mapping[str, Any]:
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [self._audience]},
        }
        answer = await self._api.create(_PATH, body)
        status: Mapping[str, Any] = answer.get("status") or {}
        return status

    def _read(self, status: Mapping[str, Any]) -> Caller | None:
        """An API server that knows no audiences leaves them out: its word is not about ours then."""
        user = status.get("user") or {}
        name = user.get("username", "")
        is_ours = status.get("authenticated") is True and self._audience in (status.get("audiences") or ())
        if not is_ours or not name.startswith(_ACCOUNT):
            return None
        namespace, _, account = name.removeprefix(_ACCOUNT).partition(":")
        pods: Sequence[str] = (user.get("extra") or {}).get(_POD) or ("",)
        return Caller(namespace, account, pods[0])

    def __repr__(self) -> str:
        return f"<TokenReviews for {self._audience}, {len(self._kept)} kept>"
