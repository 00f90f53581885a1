"""The OpenAPI 3.1 document of the data port: every path with its parameters, bodies, answers and problems."""

from __future__ import annotations

import functools
from typing import Any, Final

import msgspec

from pannier_sidecar.api import openapi_examples as examples
from pannier_sidecar.api import problems
from pannier_sidecar.api.openapi_schemas import schemas
from pannier_sidecar.version import VERSION

Node = dict[str, Any]

_DESCRIPTION: Final = """\
Reads and writes of features on localhost, out of an in-process cache, Redis and DynamoDB.
A row is `found`, `missing` (the store said so) or `unknown` (no tier could say).
Errors are RFC 9457 problem documents; `reason` and the path of each fault are stable."""
_PROBLEMS: Final = {
    "400": "The body is no JSON, or the request is no HTTP.",
    "403": "This namespace may not do that with the group.",
    "404": "No such group, or no such resource.",
    "413": "The body is larger than 8 MiB.",
    "422": "The request cannot be answered as asked; `errors` names each field.",
    "500": "A fault of the sidecar; `instance` is the id in its log.",
    "503": "No catalog is loaded yet, a store cannot be reached, or too much is under way (`Overloaded`).",
    "504": "A store did not answer in time.",
}


@functools.cache
def document_bytes() -> bytes:
    """What ``/openapi.json`` answers."""
    return msgspec.json.encode(document())


def document() -> Node:
    """Build the whole document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Pannier sidecar",
            "version": VERSION,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "http://127.0.0.1:8470"}],
        "paths": {**_feature_paths(), **_group_paths()},
        "components": {
            "schemas": schemas(),
            "responses": {
                f"Problem{status}": _refusal(status, description) for status, description in _PROBLEMS.items()
            },
        },
    }


def _refusal(status: str, description: str) -> Node:
    content = {problems.CONTENT_TYPE: {"schema": _ref("ProblemDetails")}}
    node: Node = {"description": description, "content": content}
    if status == "503":
        said = (
            "Seconds after which to come back; of `Overloaded` only, which has done nothing of the request."
        )
        node["headers"] = {"Retry-After": {"description": said, "schema": {"type": "integer", "minimum": 1}}}
    return node


def _feature_paths() -> Node:
    int64 = _query(
        "int64", {"enum": ["number", "string"]}, "Int64 values as strings, for clients that lose digits."
    )
    return {
        "/v1/features/read": {
            "post": _operation(
                "readFeatures",
                "Read rows of any groups in one request.",
                answer="ReadAnswer",
                body="ReadRequest",
                examples=(examples.READ_REQUEST, examples.READ_ANSWER),
                parameters=[int64],
                refusals="400 404 413 422 500 503",
            )
        },
        "/v1/features/write": {
            "post": _operation(
                "writeFeatures",
                "Write rows; each gets a verdict of its own, also where others fail.",
                answer="WriteAnswer",
                body="WriteRequest",
                examples=(examples.WRITE_REQUEST, examples.WRITE_ANSWER),
                refusals="400 413 422 500 503",
            )
        },
        "/v1/features/invalidate": {
            "post": _operation(
                "invalidateFeatures",
                "Distrust what the caches of all sidecars hold of rows that another writer changed.",
                answer="InvalidateAnswer",
                body="InvalidateRequest",
                examples=(examples.INVALIDATE_REQUEST, examples.INVALIDATE_ANSWER),
                refusals="400 403 404 413 422 500 503",
            )
        },
    }


def _group_paths() -> Node:
    group = _path("group", "Name of the group.")
    return {
        "/v1/groups": {
            "get": _operation(
                "listGroups", "What this sidecar serves.", answer="GroupList", refusals="500 503"
            )
        },
        "/v1/groups/{group}": {
            "parameters": [group],
            "get": _operation(
                "showGroup",
                "One group with its resolved policy.",
                answer="GroupDocument",
                refusals="404 422 500 503",
            ),
        },
        "/v1/groups/{group}/rows/{id}": {
            "parameters": [group, _path("id", "Id, percent-encoded; it may hold `/` and `#`.")],
            **_row_operations(),
        },
    }


def _row_operations() -> Node:
    instant = _query(
        "timestamp", {"type": "string"}, "Timelines: which instant; integer in the unit or RFC 3339."
    )
    tie = _query("tie_breaker", {"type": "string"}, "Timelines: which of the records of that instant.")
    return {
        "get": _operation(
            "getRow",
            "Read one row.",
            answer="RowDocument",
            examples=(None, examples.ROW_DOCUMENT),
            parameters=_read_parameters(),
            refusals="404 422 500 503",
        ),
        "put": _operation(
            "putRow",
            "Write one row; a write that is not stored is a problem.",
            answer="WriteResult",
            body="RowBody",
            examples=(examples.ROW_BODY, examples.WRITE_ANSWER["results"][0]),
            parameters=[instant],
            refusals="400 403 404 413 422 500 503 504",
        ),
        "delete": _operation(
            "deleteRow",
            "Delete a record, one instant of a timeline, or the whole id; nothing late brings it back.",
            answer="WriteResult",
            parameters=[instant, tie],
            refusals="403 404 422 500 503 504",
        ),
    }


def _read_parameters() -> list[Node]:
    return [
        _query("features", {"type": "string"}, "Names, separated by commas."),
        _query("limit", {"type": "integer"}, "Newest records to give."),
        _query("since", {"type": "string"}, "Inclusive: integer in the unit, RFC 3339 or relative (-7d)."),
        _query("until", {"type": "string"}, "Inclusive, as since."),
        _query("max_age_seconds", {"type": "integer"}, "Mark rows older than this."),
        _query("timeout_ms", {"type": "integer"}, "Budget of the request."),
        _query("explain", {"type": "boolean"}, "Say where the row came from."),
        _query("int64", {"enum": ["number", "string"]}, "Int64 values as strings."),
    ]


def _operation(  # noqa: PLR0913 - one keyword per part of an OpenAPI operation
    operation_id: str,
    summary: str,
    *,
    answer: str,
    refusals: str,
    body: str | None = None,
    examples: tuple[Any, Any] = (None, None),
    parameters: list[Node] | None = None,
) -> Node:
    asked, answered = examples
    node: Node = {
        "operationId": operation_id,
        "summary": summary,
        "responses": {
            "200": {"description": "Answered.", "content": _json(answer, answered)},
            **{status: {"$ref": f"#/components/responses/Problem{status}"} for status in refusals.split()},
        },
    }
    if parameters:
        node["parameters"] = parameters
    if body is not None:
        node["requestBody"] = {"required": True, "content": _json(body, asked)}
    return node


def _json(schema: str, example: Any = None) -> Node:
    media: Node = {"schema": _ref(schema)}
    if example is not None:
        media["example"] = example
    return {"application/json": media}


def _ref(name: str) -> Node:
    return {"$ref": f"#/components/schemas/{name}"}


def _query(name: str, schema: Node, description: str) -> Node:
    return {"name": name, "in": "query", "schema": schema, "description": description}


def _path(name: str, description: str) -> Node:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "schema": {"type": "string"},
        "description": description,
    }
