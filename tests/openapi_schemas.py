"""Holds documents against the schemas of the OpenAPI document."""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from pannier_sidecar.api.openapi import document

_URI = "urn:pannier:openapi"


def conform(instance: object, schema: dict[str, Any]) -> None:
    """Fail where an instance does not conform to a schema of the document (references allowed)."""
    resource: Resource[Any] = Resource.from_contents(document(), default_specification=DRAFT202012)
    registry: Registry[Any] = Registry().with_resource(_URI, resource)
    absolute = {"$ref": _URI + schema["$ref"]} if "$ref" in schema else schema
    Draft202012Validator(absolute, registry=registry).validate(instance)


def conform_to(instance: object, name: str) -> None:
    """Fail where an instance does not conform to a named schema."""
    conform(instance, {"$ref": f"#/components/schemas/{name}"})
