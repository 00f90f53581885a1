"""Calls to DynamoDB the short way are the calls that boto would make."""

from __future__ import annotations

import datetime as dt
from typing import NamedTuple

import pytest
from botocore.auth import SigV4Auth  # type: ignore[import-untyped]
from botocore.awsrequest import AWSRequest  # type: ignore[import-untyped]
from botocore.credentials import Credentials as BotoCredentials  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from pannier_sidecar.tiers import dynamodb_wire
from pannier_sidecar.tiers.dynamodb_wire import Signer

NOW = dt.datetime(2026, 11, 23, 12, 34, 56, tzinfo=dt.UTC)
NOW_US = int(NOW.timestamp()) * 1_000_000


class Keys(NamedTuple):
    access_key: str = "AKIDEXAMPLE"
    secret_key: str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
    token: str | None = None


def signed_by_boto(url: str, region: str, keys: Keys, body: bytes) -> str:
    request = AWSRequest("POST", url, {"X-Amz-Target": "DynamoDB_20120810.Query"}, body)
    request.context["timestamp"] = NOW.strftime("%Y%m%dT%H%M%SZ")
    request.headers["X-Amz-Date"] = request.context["timestamp"]
    if keys.token:
        request.headers["X-Amz-Security-Token"] = keys.token
    auth = SigV4Auth(BotoCredentials(*keys), "dynamodb", region)
    text = auth.string_to_sign(request, auth.canonical_request(request))
    names = auth.signed_headers(auth.headers_to_sign(request))
    return (
        f"AWS4-HMAC-SHA256 Credential={auth.scope(request)}, SignedHeaders={names}, "
        f"Signature={auth.signature(text, request)}"
    )


@pytest.mark.parametrize(
    "url",
    [
        "https://dynamodb.eu-central-1.amazonaws.com",
        "http://127.0.0.1:8000",
        "https://localhost:443/",
        "http://emulator:4566/dynamodb/",
    ],
)
@pytest.mark.parametrize("token", [None, "IQoJb3JpZ2luX2VjEXAMPLE=="])
@given(body=st.binary(max_size=64))
def test_a_signature_is_the_one_boto_makes(url: str, token: str | None, body: bytes) -> None:
    """For every kind of endpoint, with and without a session token, over any body."""
    keys = Keys(token=token)
    headers = Signer(URL(url), "eu-central-1").headers(keys, "Query", body, NOW_US)
    assert headers["authorization"] == signed_by_boto(url, "eu-central-1", keys, body)


def test_the_key_of_a_day_follows_the_day_and_the_secret() -> None:
    """A signer that lives past midnight, or whose credentials were renewed, signs anew."""
    url, region = "https://dynamodb.eu-west-1.amazonaws.com", "eu-west-1"
    signer = Signer(URL(url), region)
    first = signer.headers(Keys(), "Query", b"{}", NOW_US)
    day_us = 86_400_000_000
    next_day = signer.headers(Keys(), "Query", b"{}", NOW_US + day_us)
    renewed = signer.headers(Keys(secret_key="another"), "Query", b"{}", NOW_US)
    assert len({h["authorization"].rpartition("=")[2] for h in (first, next_day, renewed)}) == 3
    assert "/20261124/" in next_day["authorization"]
    assert signer.headers(Keys(), "Query", b"{}", NOW_US) == first
    assert "another" not in repr(signer)


def test_binary_values_are_decoded_at_any_depth() -> None:
    """Base64 is the wire's; attributes named like a type tag are left alone."""
    body = b'{"Items": [{"v": {"M": {"B": {"S": "B"}, "1": {"L": [{"B": "AAE="}, {"BS": ["/w=="]}]}}}}]}'
    (item,) = (dynamodb_wire._parsed(body) or {})["Items"]
    assert item == {"v": {"M": {"B": {"S": "B"}, "1": {"L": [{"B": b"\x00\x01"}, {"BS": [b"\xff"]}]}}}}


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'"text"', b"\xff"])
def test_what_is_no_json_object_is_no_answer(body: bytes) -> None:
    """A proxy's page must not be taken for DynamoDB's word."""
    assert dynamodb_wire._parsed(body) is None


def test_a_refusal_carries_code_text_status_and_item() -> None:
    """What the translation of errors looks at is where botocore puts it."""
    error = dynamodb_wire._refusal(
        "UpdateItem",
        400,
        {
            "__type": "com.amazonaws.dynamodb.v20120810#Conditional",
            "Message": "no",
            "Item": {"pk": {"S": "a"}},
        },
    )
    assert error.response["Error"] == {"Code": "Conditional", "Message": "no"}
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert error.response["Item"] == {"pk": {"S": "a"}}
    assert dynamodb_wire._refusal("Query", 503, {}).response["Error"]["Code"] == "503"
