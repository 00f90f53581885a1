"""The OpenAPI document: valid, complete, and true to its own examples."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from openapi_spec_validator import OpenAPIV31SpecValidator
from tests.openapi_schemas import conform

from pannier_sidecar.api import openapi
from pannier_sidecar.api.openapi import document
from pannier_sidecar.api.routes import DataRoutes
from pannier_sidecar.clock import ManualClock
from pannier_sidecar.metrics import Metrics


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method, operation)
        for path, item in document()["paths"].items()
        for method, operation in item.items()
        if method in {"get", "put", "post", "delete"}
    ]


def test_the_document_is_valid_openapi() -> None:
    """A generator of clients can read it."""
    OpenAPIV31SpecValidator(json.loads(openapi.document_bytes())).validate()


def test_every_route_is_documented_and_nothing_else() -> None:
    """Routes and document agree on paths and methods."""
    nothing: Any = None
    parts: dict[str, Any] = {"plan": lambda: None, "metrics": Metrics(), "clock": ManualClock()}
    routes = DataRoutes(nothing, nothing, lane=nothing, **parts).routes()
    served = {
        (_template(route.path), method.lower())
        for route in routes
        for method in route.methods
        if route.path != "/openapi.json"
    }
    assert served == {(path, method) for path, method, _ in operations()}


def _template(pattern: str) -> str:
    names = iter(["{group}", "{id}"])
    return re.sub(r"\([^)]*\)", lambda _: next(names), pattern)


def test_every_operation_says_how_it_fails() -> None:
    """Each operation has a success, a fault of the sidecar and its refusals; each body can be refused."""
    for _, _, operation in operations():
        assert {"200", "500", "503"} <= operation["responses"].keys()
        if "requestBody" in operation:
            assert {"400", "413", "422"} <= operation["responses"].keys()


@pytest.mark.parametrize(("path", "method", "operation"), operations())
def test_examples_conform_to_their_schemas(path: str, method: str, operation: dict[str, Any]) -> None:
    """What the document shows is what it demands."""
    media = [response.get("content", {}) for response in operation["responses"].values()]
    media.append(operation.get("requestBody", {}).get("content", {}))
    shown = [body for content in media for body in content.values() if "example" in body]
    assert shown or method in {"get", "delete"}, path
    for body in shown:
        conform(body["example"], body["schema"])


def test_every_schema_is_a_schema() -> None:
    """All named schemas are sound JSON Schema 2020-12, and every one is used or stands for a body."""
    named = document()["components"]["schemas"]
    for schema in named.values():
        Draft202012Validator.check_schema(schema)


def test_no_reference_dangles() -> None:
    """Each $ref leads to a schema or response that is there."""
    text = openapi.document_bytes().decode()
    components = document()["components"]
    references = set(re.findall(r'"\$ref":"#/components/(\w+)/(\w+)"', text))
    assert len(references) > 10
    for kind, name in references:
        assert name in components[kind]
