"""The short way of data calls: one signed POST each, attribute values as they stand in the JSON.

boto knows where DynamoDB is and who calls it (region, endpoint, credentials and their renewal). Walking every
argument and attribute through its service model is most of what a call costs there, and the wire form is the
form that Pannier uses, but for binary values. Refusals are raised as botocore raises them, so that
`dynamodb_client`, which owns this, translates both ways alike. Signed by AWS's Signature Version 4 ("Create a
signed AWS API request", IAM User Guide).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
import urllib.request
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, Final, Protocol

import aiohttp
import msgspec
from botocore import exceptions as boto  # type: ignore[import-untyped]
from yarl import URL

from pannier_sidecar.clock import Clock

_TARGET: Final = "DynamoDB_20120810"
_BINARY: Final = re.compile(rb'"BS?"\s*:')
OPERATIONS: Final = {
    "batch_get_item": "BatchGetItem",
    "batch_write_item": "BatchWriteItem",
    "delete_item": "DeleteItem",
    "query": "Query",
    "update_item": "UpdateItem",
}
"""What goes the short way, by boto's name: whatever lies on the way of a request."""


class Credentials(Protocol):
    """Keys as of now."""

    @property
    def access_key(self) -> str:
        """Who signs."""
        ...

    @property
    def secret_key(self) -> str:
        """What with."""
        ...

    @property
    def token(self) -> str | None:
        """Of temporary keys."""
        ...


class NotDynamoDB(Exception):
    """What answered speaks HTTP, but not DynamoDB's protocol."""


class Signer:
    """Signs calls to one endpoint. The day's key is made once a day."""

    def __init__(self, endpoint: URL, region: str) -> None:
        self._path = endpoint.raw_path or "/"
        self._host = endpoint.raw_host or ""
        if not endpoint.is_default_port():
            self._host += f":{endpoint.port}"
        self._region = region
        self._key: tuple[str, str, bytes] = ("", "", b"")

    def headers(self, credentials: Credentials, operation: str, body: bytes, now_us: int) -> dict[str, str]:
        """Every header that is signed, and the signature."""
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_us / 1_000_000))
        signed = {"host": self._host, "x-amz-date": moment}
        if credentials.token:
            signed["x-amz-security-token"] = credentials.token
        signed["x-amz-target"] = f"{_TARGET}.{operation}"
        names = ";".join(signed)
        lines = "".join(f"{name}:{value}\n" for name, value in signed.items())
        request = f"POST\n{self._path}\n\n{lines}\n{names}\n{hashlib.sha256(body).hexdigest()}"
        scope = f"{moment[:8]}/{self._region}/dynamodb/aws4_request"
        digest = hashlib.sha256(request.encode()).hexdigest()
        signature = _keyed(
            self._day_key(credentials.secret_key, moment[:8]),
            f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{digest}",
        ).hex()
        return {
            **signed,
            "content-type": "application/x-amz-json-1.0",
            "authorization": f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, "
            f"SignedHeaders={names}, Signature={signature}",
        }

    def _day_key(self, secret: str, day: str) -> bytes:
        if self._key[:2] != (secret, day):
            key = f"AWS4{secret}".encode()
            for part in (day, self._region, "dynamodb", "aws4_request"):
                key = _keyed(key, part)
            self._key = (secret, day, key)
        return self._key[2]

    def __repr__(self) -> str:
        return f"<Signer for {self._host} in {self._region}>"


class DynamoDBWire:
    """Data calls over one HTTP session, which its maker owns."""

    def __init__(
        self,
        http: aiohttp.ClientSession,
        *,
        endpoint: str,
        region: str,
        credentials: Callable[[], Awaitable[Credentials]],
        clock: Clock,
    ) -> None:
        self._http = http
        self._endpoint = URL(endpoint)
        self._proxy = _proxy_of(self._endpoint)
        self._signer = Signer(self._endpoint, region)
        self._credentials = credentials
        self._clock = clock

    async def call(self, operation: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """One answer; raises botocore's ClientError, aiohttp's errors, TimeoutError and `NotDynamoDB`."""
        name = OPERATIONS[operation]
        body = msgspec.json.encode(arguments)
        headers = self._signer.headers(await self._credentials(), name, body, self._clock.now_us())
        async with self._http.post(self._endpoint, data=body, headers=headers, proxy=self._proxy) as response:
            answer = _parsed(await response.read())
            if response.status == HTTPStatus.OK and answer is not None:
                return answer
            if response.status < HTTPStatus.BAD_REQUEST or (
                answer is None and response.status < HTTPStatus.INTERNAL_SERVER_ERROR
            ):
                raise NotDynamoDB(f"HTTP {response.status} without DynamoDB's JSON; is this DynamoDB?")
            raise _refusal(name, response.status, answer or {})

    def __repr__(self) -> str:
        return f"<DynamoDBWire to {self._endpoint}>"


def _proxy_of(endpoint: URL) -> str | None:
    """The proxy that the environment names, looked up once: aiohttp would do so for every call."""
    if not endpoint.host or urllib.request.proxy_bypass(endpoint.host):
        return None
    return urllib.request.getproxies().get(endpoint.scheme)


def _keyed(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


def _parsed(body: bytes) -> dict[str, Any] | None:
    """A JSON object with its binary attributes decoded; None if it is none."""
    try:
        answer = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return None
    if not isinstance(answer, dict):
        return None
    if _BINARY.search(body):  # else there is nothing binary, and nothing to look through
        for member in ("Attributes", "Item"):
            if member in answer:
                answer[member] = _item(answer[member])
        if "Items" in answer:
            answer["Items"] = [_item(item) for item in answer["Items"]]
        if "Responses" in answer:
            answer["Responses"] = {
                table: [_item(item) for item in items] for table, items in answer["Responses"].items()
            }
    return answer


def _item(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _attribute(value) for name, value in item.items()}


def _attribute(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """One value with its binary parts decoded."""
    ((tag, content),) = value.items()
    if tag == "M":
        return {tag: _item(content)}
    if tag == "L":
        return {tag: [_attribute(element) for element in content]}
    if tag == "B":
        return {tag: base64.b64decode(content)}
    if tag == "BS":
        return {tag: [base64.b64decode(element) for element in content]}
    return value


def _refusal(operation: str, status: int, answer: Mapping[str, Any]) -> boto.ClientError:
    """DynamoDB's error document as botocore would raise it."""
    code = str(answer.get("__type") or status).rpartition("#")[2]
    text = str(answer.get("message") or answer.get("Message") or "")
    parts: dict[str, Any] = {
        "Error": {"Code": code, "Message": text},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    if "Item" in answer:
        parts["Item"] = answer["Item"]
    return boto.ClientError(parts, operation)
