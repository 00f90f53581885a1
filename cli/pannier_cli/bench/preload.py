"""Fills the stores of `mixed` with its rows, where it can past the sidecar: a million items within minutes.

dynoxide takes an export file at start; DynamoDB Local takes batches over its own API; the embedded store
takes writes through the sidecar, since its file is the sidecar's own.
"""

from __future__ import annotations

import gzip
import http.client
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec

from pannier_cli.bench import mixed_workload as workload
from pannier_cli.bench.children import HOST
from pannier_cli.failures import CommandFailed

Tell = Callable[[str], None]
_BATCH: Final = 25
_WRITES: Final = 500
_READS: Final = 20
_ATTEMPTS: Final = 20
_HEADERS: Final = {
    "Content-Type": "application/x-amz-json-1.0",
    "X-Amz-Date": "20240101T000000Z",
    "Authorization": "AWS4-HMAC-SHA256 Credential=bench/20240101/us-east-1/dynamodb/aws4_request, "
    "SignedHeaders=host, Signature=0",
}
"""The emulators want to see a signature and do not check it."""


def table_description(table: str) -> dict[str, Any]:
    """Describe a table of Pannier for CreateTable."""
    return {
        "TableName": table,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": key, "AttributeType": "S"} for key in ("pk", "sk")],
        "KeySchema": [
            {"AttributeName": "pk", "KeyType": "HASH"},
            {"AttributeName": "sk", "KeyType": "RANGE"},
        ],
    }


def items_of(group: str, ids: int) -> Iterator[dict[str, Any]]:
    """Yield every stored item of a group."""
    for number in range(ids):
        if group == workload.TIMELINE:
            yield from workload.timeline_items(number)
        else:
            yield workload.record_item(number)


def write_export(directory: Path, ids: int, tell: Tell) -> None:
    """Write ``schema.json`` and ``export/`` in the form of DynamoDB's export to S3."""
    for group, table in workload.TABLES.items():
        tell(f"writing the rows of {group} as an export")
        data = directory / "export" / table / "data"
        data.mkdir(parents=True)
        with gzip.open(data / "rows.json.gz", "wb", compresslevel=1) as file:
            file.writelines(msgspec.json.encode({"Item": item}) + b"\n" for item in items_of(group, ids))
    schema = [{"Table": table_description(table)} for table in workload.TABLES.values()]
    (directory / "schema.json").write_text(json.dumps(schema))


def load_over_api(port: int, ids: int, tell: Tell) -> None:
    """Create the tables and write every item with BatchWriteItem."""
    with closing(http.client.HTTPConnection(HOST, port, timeout=120)) as connection:
        for group, table in workload.TABLES.items():
            _call(connection, "CreateTable", table_description(table))
            written = 0
            for batch in batches(items_of(group, ids), _BATCH):
                requests = [{"PutRequest": {"Item": item}} for item in batch]
                answer = _call(connection, "BatchWriteItem", {"RequestItems": {table: requests}})
                if answer.get("UnprocessedItems"):
                    raise CommandFailed(f"the emulator left items of {table} unwritten")
                written += len(batch)
                if written % 10_000 < _BATCH:
                    tell(f"{group}: {written:,} items")


def load_through_sidecar(port: int, ids: int, tell: Tell) -> None:
    """Write every row with the public API."""
    with closing(http.client.HTTPConnection(HOST, port, timeout=120)) as connection:
        for group in workload.TABLES:
            written = 0
            for batch in batches(_writes_of(group, ids), _WRITES):
                body = msgspec.json.encode({"writes": batch})
                headers = {"Content-Type": "application/json"}
                connection.request("POST", "/v1/features/write", body, headers)
                answer = msgspec.json.decode(connection.getresponse().read())
                if any(result["verdict"] != "written" for result in answer.get("results", [{"verdict": ""}])):
                    raise CommandFailed(f"the sidecar did not take every row: {str(answer)[:500]}")
                written += len(batch)
                tell(f"{group}: {written:,} rows")


def read_every_id(port: int, ids: int, tell: Tell) -> None:
    """Read every row once, the most popular last, so that the caches hold what they would after an hour."""
    with closing(http.client.HTTPConnection(HOST, port, timeout=120)) as connection:
        for group in workload.TABLES:
            for start in reversed(range(0, ids, _READS)):
                names = [workload.row_id(number) for number in range(start, min(start + _READS, ids))]
                _read_until_found(connection, group, names)
                tell(f"{group}: {start:,} ids are left to read")


def _read_until_found(connection: http.client.HTTPConnection, group: str, names: list[str]) -> None:
    body = msgspec.json.encode({"reads": [{"group": group, "ids": names}], "timeout_ms": 60_000})
    for _attempt in range(_ATTEMPTS):
        connection.request("POST", "/v1/features/read", body, {"Content-Type": "application/json"})
        answer = msgspec.json.decode(connection.getresponse().read())
        statuses = {row["status"] for result in answer["results"] for row in result["rows"]}
        if statuses == {"found"}:
            return
        if "missing" in statuses:
            raise CommandFailed(f"rows of {group} are missing after the store was filled")
    raise CommandFailed(f"the store gave no answer for rows of {group}")


def batches(items: Iterable[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    """Cut items into lists of at most ``size``."""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


def _writes_of(group: str, ids: int) -> Iterator[dict[str, Any]]:
    for item in items_of(group, ids):
        value = item["v"]["M"]["0"]["S"]
        row_id = item["pk"]["S"].partition("#")[2]
        if group == workload.TIMELINE:
            yield {
                "group": group,
                "id": row_id,
                "timestamp": int(item["sk"]["S"]),
                "features": {"event": value},
            }
        else:
            yield {"group": group, "id": row_id, "features": {"profile": value}}


def _call(connection: http.client.HTTPConnection, operation: str, body: dict[str, Any]) -> Any:
    target = {"X-Amz-Target": f"DynamoDB_20120810.{operation}"}
    connection.request("POST", "/", msgspec.json.encode(body), {**_HEADERS, **target})
    response = connection.getresponse()
    answer = response.read()
    if response.status != http.HTTPStatus.OK:
        raise CommandFailed(f"{operation} failed: {answer[:500].decode(errors='replace')}")
    return msgspec.json.decode(answer)
