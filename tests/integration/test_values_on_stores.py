"""What the contract calls storable, real stores take and give back alike; what it refuses, they refuse."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3  # type: ignore[import-untyped]
import msgspec
import pytest
from botocore.config import Config  # type: ignore[import-untyped]
from botocore.exceptions import ClientError  # type: ignore[import-untyped]
from hypothesis import HealthCheck, given, settings
from tests.contract.test_values_laws import features_and_values

from pannier.catalog import CatalogFeature
from pannier.values import ITEM_MAX_BYTES, AttributeValue, codec_for, item_bytes

pytestmark = pytest.mark.dynamodb
TABLE = "values-on-stores"
KEY: dict[str, AttributeValue] = {"pk": {"S": "g#1"}, "sk": {"S": "null"}}


class Table:
    """One row of a real table, written and read back."""

    def __init__(self, url: str) -> None:
        self._client: Any = boto3.client(
            "dynamodb",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(retries={"total_max_attempts": 1}),
        )
        self._client.create_table(
            TableName=TABLE,
            KeySchema=[
                {"AttributeName": "pk", "KeyType": "HASH"},
                {"AttributeName": "sk", "KeyType": "RANGE"},
            ],
            AttributeDefinitions=[
                {"AttributeName": "pk", "AttributeType": "S"},
                {"AttributeName": "sk", "AttributeType": "S"},
            ],
            BillingMode="PAY_PER_REQUEST",
        )

    def put(self, attributes: dict[str, AttributeValue]) -> None:
        self._client.put_item(TableName=TABLE, Item={**KEY, **attributes})

    def stored(self, value: AttributeValue) -> AttributeValue:
        """The value after a write and a read, nested as rows nest it."""
        self.put({"v": {"M": {"0": value}}})
        item = self._client.get_item(TableName=TABLE, Key=KEY, ConsistentRead=True)["Item"]
        back: AttributeValue = item["v"]["M"]["0"]
        return back

    def close(self) -> None:
        self._client.delete_table(TableName=TABLE)
        self._client.close()


@pytest.fixture(scope="module", params=["dynoxide_url", "dynamodb_local_url"])
def table(request: pytest.FixtureRequest) -> Iterator[Table]:
    made = Table(request.getfixturevalue(request.param))
    yield made
    made.close()


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=features_and_values())
def test_every_value_comes_back_as_the_same_fragment(table: Table, case: tuple[CatalogFeature, Any]) -> None:
    """Stores respell numbers and shuffle sets and maps; the fragment does not show it."""
    feature, value = case
    codec = codec_for(feature)
    fragment = codec.parse(msgspec.json.encode(value), "f")
    assert codec.from_attribute(table.stored(codec.to_attribute(fragment))) == fragment


@pytest.mark.parametrize(
    "attribute",
    [
        {"S": "é"},
        {"N": "0"},
        {"N": "1.5"},
        {"N": "-123"},
        {"N": "1e-130"},
        {"N": "-9223372036854775808"},
        {"B": b"\x00\xff"},
        {"BOOL": True},
        {"L": [{"S": "a"}, {"NULL": True}]},
        {"M": {"k": {"S": "a"}, "kk": {"L": []}}},
        {"SS": ["", "é"]},
        {"NS": ["1", "12.5", "-45"]},
        {"BS": [b"ab", b""]},
    ],
)
def test_an_item_is_full_where_the_contract_says_so(table: Table, attribute: AttributeValue) -> None:
    """Filled up to the limit it is taken; one byte more is refused."""
    room = ITEM_MAX_BYTES - item_bytes({**KEY, "a": attribute, "f": {"S": ""}})
    table.put({"a": attribute, "f": {"S": "x" * room}})
    with pytest.raises(ClientError, match=r"size|400 KB"):
        table.put({"a": attribute, "f": {"S": "x" * (room + 1)}})


@pytest.mark.parametrize("number", ["1e-131", "1e126"])
def test_numbers_outside_the_contracts_range_are_outside_the_stores(table: Table, number: str) -> None:
    """Which is why they are refused before any call."""
    with pytest.raises(ClientError, match=r"underflow|overflow"):
        table.put({"v": {"N": number}})


@pytest.mark.parametrize("number", ["1e-130", "-9.99e+125", "0.0", "1e+16", "1.2345678901234567e-130"])
def test_numbers_at_the_edges_come_back_exactly(table: Table, number: str) -> None:
    """In whatever spelling."""
    assert float(table.stored({"N": number})["N"]) == float(number)
