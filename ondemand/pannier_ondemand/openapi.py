"""The OpenAPI 3.1 document of the protocol, made of `messages`: what any feature server has to answer."""

from __future__ import annotations

import functools
from typing import Any

import msgspec

from pannier_ondemand.messages import VERSION, Answer, Call, ProblemDetails


@functools.cache
def document_bytes() -> bytes:
    """What ``/openapi.json`` answers."""
    return msgspec.json.encode(document())


def reference_text() -> str:
    """The text of docs/reference/on-demand-protocol.openapi.json."""
    return msgspec.json.format(document_bytes(), indent=2).decode() + "\n"


def document() -> dict[str, Any]:
    """Build the whole document."""
    template = "#/components/schemas/{name}"
    _, schemas = msgspec.json.schema_components((Call, Answer, ProblemDetails), ref_template=template)
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}}
    retry = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Pannier feature servers",
            "version": VERSION,
            "description": "One call per server for all rows of a request that it computes.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {
            "/v1/features": {
                "post": {
                    "operationId": "computeFeatures",
                    "summary": "Compute rows of groups.",
                    "parameters": [
                        _header("Pannier-Protocol", {"const": VERSION}, "Version of the protocol."),
                        _header(
                            "Pannier-Deadline-Ms",
                            {"type": "integer", "minimum": 1},
                            "The sidecar's patience.",
                        ),
                        _header("traceparent", {"type": "string"}, "W3C Trace Context of the app's request."),
                        _header("tracestate", {"type": "string"}, "Goes with traceparent."),
                    ],
                    "requestBody": {"required": True, "content": _json("Call")},
                    "responses": {
                        "200": {"description": "A result per read.", "content": _json("Answer")},
                        "400": {
                            "description": "The body or a header is none of the protocol.",
                            "content": problem,
                        },
                        "503": {"description": "Overloaded.", "headers": retry, "content": problem},
                    },
                }
            }
        },
        "components": {"schemas": schemas},
    }


def _json(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}


def _header(name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "schema": schema, "description": description}
