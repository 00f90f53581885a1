"""Attribute values of DynamoDB's answers, taken from the JSON as they are.

botocore walks every attribute value through its service model, which is most of the client's time in a
read. The wire form already is the form that Pannier uses, but for binary values, so here they are only
looked through for base64. Everything around them (errors, metadata, other members) is botocore's. Belongs
to `dynamodb_client`.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from aiobotocore.parsers import AioJSONParser, AioResponseParserFactory  # type: ignore[import-untyped]
from aiobotocore.session import AioSession  # type: ignore[import-untyped]

_SHAPE = "AttributeValue"


class AttributeParser(AioJSONParser):  # type: ignore[misc]
    """botocore's JSON parser with a short way through attribute values."""

    def _handle_structure(self, shape: Any, value: Any) -> Any:
        return _attribute(value) if shape.name == _SHAPE else super()._handle_structure(shape, value)

    def _handle_map(self, shape: Any, value: Any) -> Any:
        if shape.value.name != _SHAPE:
            return super()._handle_map(shape, value)
        return {name: _attribute(attribute) for name, attribute in value.items()}


class AttributeParserFactory(AioResponseParserFactory):  # type: ignore[misc]
    """Makes `AttributeParser` for DynamoDB's protocol and leaves the others (credentials) alone."""

    def create_parser(self, protocol_name: str) -> Any:
        """The parser of a protocol."""
        if protocol_name == "json":
            return AttributeParser(**self._defaults)
        return super().create_parser(protocol_name)


def session_with_attribute_parser() -> Any:
    """A botocore session whose clients parse attribute values the short way."""
    session = AioSession()
    session.register_component("response_parser_factory", AttributeParserFactory())
    return session


def _attribute(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """One value with its binary parts decoded."""
    ((tag, content),) = value.items()
    if tag == "M":
        return {tag: {name: _attribute(element) for name, element in content.items()}}
    if tag == "L":
        return {tag: [_attribute(element) for element in content]}
    if tag == "B":
        return {tag: base64.b64decode(content)}
    if tag == "BS":
        return {tag: [base64.b64decode(element) for element in content]}
    return value
