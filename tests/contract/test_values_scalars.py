"""Scalar values: what each type takes, how it is spelled and stored, and what is refused with which words."""

from __future__ import annotations

from typing import Any

import pytest

from pannier.catalog import CatalogFeature, FeatureType
from pannier.errors import ValueRefused
from pannier.values import AttributeValue, FeatureCodec, codec_for
from pannier.values.json_text import member, shown

PATH = "writes[3].features.f"


def a_codec(kind: FeatureType, **fields: Any) -> FeatureCodec:
    return codec_for(CatalogFeature(id=0, name="f", type=kind, **fields))


@pytest.mark.parametrize(
    ("kind", "sent", "fragment", "stored"),
    [
        ("String", '"a"', '"a"', {"S": "a"}),
        ("String", ' "\\u00e9\\/\\ud83d\\ude00" ', '"é/😀"', {"S": "é/😀"}),
        ("String", '""', '""', {"S": ""}),
        ("String", '"\\u0000\\n\\""', '"\\u0000\\n\\""', {"S": '\x00\n"'}),
        ("Int64", "0", "0", {"N": "0"}),
        ("Int64", "-0", "0", {"N": "0"}),
        ("Int64", "9223372036854775807", "9223372036854775807", {"N": "9223372036854775807"}),
        ("Int64", "-9223372036854775808", "-9223372036854775808", {"N": "-9223372036854775808"}),
        ("Float64", "1", "1.0", {"N": "1.0"}),
        ("Float64", "1.0", "1.0", {"N": "1.0"}),
        ("Float64", "0.10", "0.1", {"N": "0.1"}),
        ("Float64", "-0.0", "0.0", {"N": "0.0"}),
        ("Float64", "-1e-400", "0.0", {"N": "0.0"}),
        ("Float64", "1e-130", "1e-130", {"N": "1e-130"}),
        ("Float64", "-9.99e125", "-9.99e125", {"N": "-9.99e+125"}),
        ("Float64", "9007199254740993", "9007199254740992.0", {"N": "9007199254740992.0"}),
        ("Bool", "true", "true", {"BOOL": True}),
        ("Bool", "false", "false", {"BOOL": False}),
        ("Bytes", '"AP8="', '"AP8="', {"B": b"\x00\xff"}),
        ("Bytes", '""', '""', {"B": b""}),
        ("Timestamp", '"2013-01-01T05:00:00Z"', '"2013-01-01T05:00:00.000000Z"', {"N": "1357016400000000"}),
        ("Timestamp", '"2013-01-01T00:00:00-05:00"', '"2013-01-01T05:00:00.000000Z"', {"N": "1357016400000000"}),  # noqa: E501
        ("Timestamp", '"1969-12-31T23:59:59.5Z"', '"1969-12-31T23:59:59.500000Z"', {"N": "-500000"}),
        ("Json", ' {"b": [1, 2.50, -0.0], "a": null} ', '{"b":[1,2.5,0.0],"a":null}', {"S": '{"b":[1,2.5,0.0],"a":null}'}),  # noqa: E501
        ("Json", '"-0.0"', '"-0.0"', {"S": '"-0.0"'}),
        ("Json", "{}", "{}", {"S": "{}"}),
        ("Json", "123456789012345678901234567890", "123456789012345678901234567890", {"S": "1" "23456789012345678901234567890"}),  # noqa: E501
    ],
)  # fmt: skip
def test_a_value_has_one_spelling_and_one_stored_form(
    kind: FeatureType, sent: str, fragment: str, stored: AttributeValue
) -> None:
    """Sent, canonical and stored, and back from the store to the same canonical bytes."""
    codec = a_codec(kind)
    assert codec.parse(sent.encode(), PATH) == fragment.encode()
    assert codec.parse(fragment.encode(), PATH) == fragment.encode()
    assert codec.to_attribute(fragment.encode()) == stored
    assert codec.from_attribute(stored) == fragment.encode()


@pytest.mark.parametrize(
    ("kind", "sent", "reason", "message"),
    [
        ("String", "1", "WrongType", "wants a string, got the number 1"),
        ("String", "[]", "WrongType", "got an array"),
        ("String", '"\\ud800"', "LoneSurrogate", "lone surrogate"),
        ("Int64", "1.0", "WrongType", "integer without point or exponent, got the number 1.0"),
        ("Int64", "1e3", "WrongType", "integer without point"),
        ("Int64", "true", "WrongType", "got true"),
        ("Int64", '"1"', "WrongType", 'got the string "1"'),
        ("Int64", "9223372036854775808", "Int64OutOfRange", "64 bits"),
        ("Int64", "-9223372036854775809", "Int64OutOfRange", "64 bits"),
        ("Int64", "1" * 5000, "NotFinite", "too large"),
        ("Float64", "true", "WrongType", "wants a number, got true"),
        ("Float64", '"NaN"', "WrongType", "wants a number"),
        ("Float64", "NaN", "NotFinite", "NaN is no JSON number"),
        ("Float64", "Infinity", "NotFinite", "infinite"),
        ("Float64", "-Infinity", "NotFinite", "infinite"),
        ("Float64", "1e400", "NotFinite", "too large for a 64-bit float"),
        ("Float64", "1e126", "Float64OutOfRange", "1e-130 to 9.99e\\+125"),
        ("Float64", "-1e300", "Float64OutOfRange", "outside"),
        ("Float64", "1" + "0" * 200, "Float64OutOfRange", "outside"),
        ("Float64", "9.9e-131", "Float64OutOfRange", "outside"),
        ("Bool", "1", "WrongType", "wants true or false, got the number 1"),
        ("Bool", '"true"', "WrongType", "true or false"),
        ("Bytes", '"AP8"', "InvalidBase64", "padded"),
        ("Bytes", '"AP-_"', "InvalidBase64", "standard base64"),
        ("Bytes", '"AP8=\\n"', "InvalidBase64", "no line breaks"),
        ("Bytes", '"AP9="', "InvalidBase64", "standard base64"),
        ("Bytes", '"é"', "InvalidBase64", "standard base64"),
        ("Bytes", "[1]", "WrongType", "base64, got an array"),
        ("Timestamp", "1357016400", "WrongType", "RFC 3339 string with an offset"),
        ("Timestamp", '"2013-01-01"', "InvalidTimestamp", "with an offset"),
        ("Timestamp", '"2013-01-01T05:00:00.0000001Z"', "InvalidTimestamp", "finer than a microsecond"),
        ("Timestamp", '"9999-12-31T23:59:59-01:00"', "InvalidTimestamp", "years 1 to 9999"),
        ("Json", "[" * 33 + "]" * 33, "TooDeep", "32 levels"),
        ("Json", '{"a":' * 33 + "1" + "}" * 33, "TooDeep", "32 levels"),
        ("Json", "[" * 100_000 + "]" * 100_000, "TooDeep", "32 levels"),
        ("Json", "[1,", "InvalidJson", "not JSON"),
        ("Json", "", "InvalidJson", "not JSON"),
        ("Json", "01", "InvalidJson", "not JSON"),
        ("Json", "{'a':1}", "InvalidJson", "not JSON"),
    ],
)
def test_what_does_not_fit_is_refused(kind: FeatureType, sent: str, reason: str, message: str) -> None:
    """The refusal names the path, what came and what would be right."""
    with pytest.raises(ValueRefused, match=message) as refused:
        a_codec(kind).parse(sent.encode(), PATH)
    assert (refused.value.reason, refused.value.path) == (reason, PATH)
    assert refused.value.message.isascii()


def test_text_that_is_not_utf8_is_refused() -> None:
    """Raw bytes reach the codec unchecked, so it is the one to look."""
    with pytest.raises(ValueRefused, match="not UTF-8"):
        a_codec("String").parse(b'"\xff"', PATH)


@pytest.mark.parametrize("kind", ["String", "Int64", "Float64", "Bool", "Bytes", "Timestamp", "Json"])
def test_null_is_a_value_of_every_type(kind: FeatureType) -> None:
    """It is stored as DynamoDB's NULL, which no empty value is."""
    codec = a_codec(kind)
    assert codec.parse(b" null ", PATH) == b"null"
    assert codec.to_attribute(b"null") == {"NULL": True}
    assert codec.from_attribute({"NULL": True}) == b"null"


@pytest.mark.parametrize("depth", [31, 32])
def test_json_may_nest_as_deep_as_dynamodb_does(depth: int) -> None:
    """Also where other brackets in its text are more than the levels."""
    text = b"[" * depth + b'"[[[[{{{{"' + b"]" * depth
    assert a_codec("Json").parse(text, PATH) == text


def test_many_brackets_are_not_depth() -> None:
    """A wide value is a flat one."""
    text = b"[" + b",".join([b"{}"] * 100) + b"]"
    assert a_codec("Json").parse(text, PATH) == text


@pytest.mark.parametrize(
    ("sent", "path"),
    [
        ('{"a":[1,{"b c":"\\ud800"}]}', '.a[1]["b c"]'),
        ('{"a":{"\\udc00":1}}', '.a["\\\\udc00"]'.replace("\\\\", "\\")),
        ('[0, {"x": 1e999}]', "[1].x"),
        ("[0, NaN]", "[1]"),
    ],
)
def test_faults_inside_json_are_named_by_their_place(sent: str, path: str) -> None:
    """Any depth; keys that are no plain words are quoted and escaped."""
    with pytest.raises(ValueRefused) as refused:
        a_codec("Json").parse(sent.encode(), PATH)
    assert refused.value.path == PATH + path


def test_of_members_with_one_name_the_last_counts() -> None:
    """As in most JSON readers; nothing of the first is kept."""
    assert a_codec("Json").parse(b'{"a":1,"a":2}', PATH) == b'{"a":2}'


def test_long_values_are_shortened_in_messages() -> None:
    """A refusal of 8 KB does not quote 8 KB."""
    with pytest.raises(ValueRefused) as refused:
        a_codec("Int64").parse(b'"' + b"x" * 8000 + b'"', PATH)
    assert len(refused.value.message) < 150


def test_what_fits_a_message_is_shown_whole() -> None:
    """Up to forty characters, quotes counted; of longer ones the start, with dots for the rest."""
    for length in (1, 38, 39, 60):
        whole = '"' + "x" * length + '"'
        start = whole if length <= 38 else whole[:40] + "..."
        assert shown("x" * length) == f"the string {start}"
        assert member("-" * length) == f"[{start.replace('x', '-')}]"


@pytest.mark.parametrize(
    ("kind", "stored", "fragment"),
    [
        ("Int64", {"N": "1.0"}, "1"),
        ("Int64", {"N": "1E+2"}, "100"),
        ("Float64", {"N": "0." + "0" * 129 + "1"}, "1e-130"),
        ("Float64", {"N": "0.1000000000000000000000000001"}, "0.1"),
        ("Float64", {"N": "-0"}, "0.0"),
        ("Timestamp", {"N": "1357016400000000.0"}, '"2013-01-01T05:00:00.000000Z"'),
        ("Timestamp", {"S": "2013-01-01T06:00:00+01:00"}, '"2013-01-01T05:00:00.000000Z"'),
        ("Json", {"S": '{ "a" : 1 }'}, '{"a":1}'),
    ],
)
def test_harmless_spellings_of_other_writers_are_read(
    kind: FeatureType, stored: AttributeValue, fragment: str
) -> None:
    """What means the same comes out the same."""
    assert a_codec(kind).from_attribute(stored) == fragment.encode()


@pytest.mark.parametrize(
    ("kind", "stored", "reason"),
    [
        ("String", {"N": "1"}, "WrongStoredType"),
        ("Int64", {"S": "1"}, "WrongStoredType"),
        ("Int64", {"N": "1.5"}, "WrongStoredType"),
        ("Int64", {"N": "9223372036854775808"}, "Int64OutOfRange"),
        ("Float64", {"S": "1"}, "WrongStoredType"),
        ("Bool", {"N": "1"}, "WrongStoredType"),
        ("Bytes", {"S": "AP8="}, "WrongStoredType"),
        ("Timestamp", {"N": "9" * 30}, "InvalidTimestamp"),
        ("Timestamp", {"S": "yesterday"}, "InvalidTimestamp"),
        ("Timestamp", {"BOOL": True}, "WrongStoredType"),
        ("Json", {"S": "{"}, "InvalidJson"),
        ("Json", {"M": {}}, "WrongStoredType"),
    ],
)
def test_other_stored_types_are_refused_by_name(
    kind: FeatureType, stored: AttributeValue, reason: str
) -> None:
    """A row of another writer is never served as something it is not; the feature is named."""
    with pytest.raises(ValueRefused) as refused:
        a_codec(kind).from_attribute(stored)
    assert (refused.value.reason, refused.value.path) == (reason, "f")


@pytest.mark.parametrize(
    ("kind", "sent", "size"),
    [
        ("String", '"é' + "a" * 98 + '"', 100),
        ("Bytes", '"' + "AAAA" * 33 + 'AA=="', 100),
        ("Json", '["' + "a" * 96 + '"]', 100),
    ],
)
def test_max_bytes_limits_the_stored_size(kind: FeatureType, sent: str, size: int) -> None:
    """The limit itself is taken, one byte less is refused with both numbers."""
    assert a_codec(kind, max_bytes=size).parse(sent.encode(), PATH)
    with pytest.raises(
        ValueRefused, match=f"takes {size} bytes as stored.*maxBytes is {size - 1}"
    ) as refused:
        a_codec(kind, max_bytes=size - 1).parse(sent.encode(), PATH)
    assert (refused.value.reason, refused.value.path) == ("ValueTooLarge", PATH)
