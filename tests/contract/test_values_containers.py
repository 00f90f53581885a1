"""List, Set, Map and Vector: order, emptiness, nulls, duplicates, dimensions, refusals named by element."""

from __future__ import annotations

from typing import Any

import pytest

from pannier.catalog import CatalogFeature, FeatureType, ScalarType
from pannier.errors import SpecInvalid, ValueRefused
from pannier.values import AttributeValue, FeatureCodec, codec_for

PATH = "features.tags"


def a_codec(kind: FeatureType, element: ScalarType | None = None, **fields: Any) -> FeatureCodec:
    return codec_for(CatalogFeature(id=0, name="tags", type=kind, element_type=element, **fields))


@pytest.mark.parametrize(
    ("kind", "element", "sent", "fragment", "stored"),
    [
        ("List", "String", '["b", "a", "b"]', '["b","a","b"]', {"L": [{"S": "b"}, {"S": "a"}, {"S": "b"}]}),
        ("List", "String", '[""]', '[""]', {"L": [{"S": ""}]}),
        ("List", "Int64", "[1, null]", "[1,null]", {"L": [{"N": "1"}, {"NULL": True}]}),
        ("List", "Float64", "[-0.0, 1]", "[0.0,1.0]", {"L": [{"N": "0.0"}, {"N": "1.0"}]}),
        ("List", "Json", '[{"b": [-0.0]}, null]', '[{"b":[0.0]},null]', {"L": [{"S": '{"b":[0.0]}'}, {"NULL": True}]}),  # noqa: E501
        ("List", "Bytes", '["AA=="]', '["AA=="]', {"L": [{"B": b"\x00"}]}),
        ("List", "Bool", "[]", "[]", {"L": []}),
        ("Set", "String", '["b", "", "a"]', '["","a","b"]', {"SS": ["", "a", "b"]}),
        ("Set", "String", '["\\uffff", "\\ud83d\\ude00"]', '["\uffff","😀"]', {"SS": ["\uffff", "😀"]}),
        ("Set", "Int64", "[10, 9, -1]", "[-1,9,10]", {"NS": ["-1", "9", "10"]}),
        ("Set", "Float64", "[1e3, 2, -0.0]", "[0.0,2.0,1000.0]", {"NS": ["0.0", "2.0", "1000.0"]}),
        ("Set", "Bytes", '["/w==", "YQ=="]', '["YQ==","/w=="]', {"BS": [b"a", b"\xff"]}),
        ("Set", "Timestamp", '["1970-01-01T01:00:00+01:00"]', '["1970-01-01T00:00:00.000000Z"]', {"NS": ["0"]}),  # noqa: E501
        ("Set", "Int64", "[]", "[]", {"L": []}),
        ("Map", "Int64", '{"b": 1, "a": null}', '{"a":null,"b":1}', {"M": {"a": {"NULL": True}, "b": {"N": "1"}}}),  # noqa: E501
        ("Map", "Timestamp", '{"t":"1970-01-01T00:00:00Z"}', '{"t":"1970-01-01T00:00:00.000000Z"}', {"M": {"t": {"N": "0"}}}),  # noqa: E501
        ("Map", "String", "{}", "{}", {"M": {}}),
    ],
)  # fmt: skip
def test_a_container_has_one_spelling_and_one_stored_form(
    kind: FeatureType, element: ScalarType, sent: str, fragment: str, stored: AttributeValue
) -> None:
    """Lists keep their order, sets are sorted by value, maps by key; elements follow their own type."""
    codec = a_codec(kind, element)
    assert codec.parse(sent.encode(), PATH) == fragment.encode()
    assert codec.parse(fragment.encode(), PATH) == fragment.encode()
    assert codec.to_attribute(fragment.encode()) == stored
    assert codec.from_attribute(stored) == fragment.encode()


@pytest.mark.parametrize(
    ("kind", "element"), [("List", "String"), ("Set", "Int64"), ("Map", "Json"), ("Set", "Bytes")]
)
def test_null_and_empty_are_two_values(kind: FeatureType, element: ScalarType) -> None:
    """On the wire and in the store."""
    codec = a_codec(kind, element)
    empty = b"{}" if kind == "Map" else b"[]"
    assert codec.to_attribute(codec.parse(b"null", PATH)) == {"NULL": True}
    assert codec.to_attribute(codec.parse(empty, PATH)) != {"NULL": True}
    assert codec.from_attribute(codec.to_attribute(empty)) == empty
    assert codec.from_attribute({"NULL": True}) == b"null"


@pytest.mark.parametrize(
    ("kind", "element", "sent", "reason", "path"),
    [
        ("List", "String", '["a", 1]', "WrongType", "[1]"),
        ("List", "String", '"a"', "WrongType", ""),
        ("List", "String", '["a", "b", "c", "\\ud800"]', "LoneSurrogate", "[3]"),
        ("List", "Int64", "[1, 2, 3.0]", "WrongType", "[2]"),
        ("List", "Int64", "[1, false]", "WrongType", "[1]"),
        ("List", "Int64", "[9223372036854775808]", "Int64OutOfRange", "[0]"),
        ("List", "Float64", "[1, 1e400]", "NotFinite", "[1]"),
        ("List", "Float64", "[1, NaN]", "NotFinite", "[1]"),
        ("List", "Float64", "[1, 1e-200]", "Float64OutOfRange", "[1]"),
        ("List", "List", "[[1]]", None, None),
        ("List", "Int64", "[[1]]", "WrongType", "[0]"),
        ("List", "Bytes", '["AA==", "AA"]', "InvalidBase64", "[1]"),
        ("List", "Timestamp", '["2013"]', "InvalidTimestamp", "[0]"),
        ("List", "Json", "[1, " + "[" * 33 + "]" * 33 + "]", "TooDeep", "[1]"),
        ("Set", "String", '["a", "b", "a"]', "DuplicateElement", "[2]"),
        ("Set", "Float64", "[1, 1.0]", "DuplicateElement", "[1]"),
        ("Set", "Float64", "[0.0, -0.0]", "DuplicateElement", "[1]"),
        ("Set", "Timestamp", '["1970-01-01T00:00:00Z", "1970-01-01T01:00:00+01:00"]', "DuplicateElement", "[1]"),  # noqa: E501
        ("Set", "String", '["a", null]', "NullInSet", "[1]"),
        ("Set", "String", "{}", "WrongType", ""),
        ("Map", "Int64", '{"a": 1, "b c": true}', "WrongType", '["b c"]'),
        ("Map", "Int64", '{"a": 1, "b": "x"}', "WrongType", ".b"),
        ("Map", "Int64", "[]", "WrongType", ""),
        ("Map", "Int64", '{"": 1}', "InvalidMapKey", '[""]'),
        ("Map", "Json", '{"a": {"b": "\\ud800"}}', "LoneSurrogate", ".a.b"),
        ("Map", "Json", '{"\\ud800": 1}', "LoneSurrogate", '["\\ud800"]'),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_at_its_place(
    kind: FeatureType, element: Any, sent: str, reason: str | None, path: str | None
) -> None:
    """The element is named by index or key; containers of containers do not exist."""
    if reason is None:
        with pytest.raises(KeyError):
            a_codec(kind, element)
        return
    with pytest.raises(ValueRefused) as refused:
        a_codec(kind, element).parse(sent.encode(), PATH)
    assert (refused.value.reason, refused.value.path) == (reason, PATH + str(path))
    assert refused.value.path.isascii()


def test_keys_of_a_map_have_dynamodbs_limit() -> None:
    """65,535 bytes are taken, one more is not."""
    codec = a_codec("Map", "Int64", max_bytes=393_216)
    assert codec.parse(b'{"' + b"k" * 65_535 + b'":1}', PATH)
    with pytest.raises(ValueRefused, match="65535 bytes"):
        codec.parse(b'{"' + b"k" * 65_536 + b'":1}', PATH)


@pytest.mark.parametrize(
    ("kind", "element", "stored", "fragment"),
    [
        ("Set", "String", {"L": [{"S": "b"}, {"S": "a"}, {"S": "b"}]}, '["a","b"]'),
        ("Set", "String", {"SS": ["b", "a"]}, '["a","b"]'),
        ("Set", "Int64", {"NS": ["1E+1", "9"]}, "[9,10]"),
        ("Map", "Int64", {"M": {"b": {"N": "1"}, "a": {"N": "2"}}}, '{"a":2,"b":1}'),
    ],
)
def test_harmless_variants_of_other_writers_are_read(
    kind: FeatureType, element: ScalarType, stored: AttributeValue, fragment: str
) -> None:
    """Any order, and a list where a set is declared."""
    assert a_codec(kind, element).from_attribute(stored) == fragment.encode()


@pytest.mark.parametrize(
    ("kind", "element", "stored", "path"),
    [
        ("List", "String", {"S": "a"}, ""),
        ("List", "String", {"L": [{"S": "a"}, {"N": "1"}]}, "[1]"),
        ("Set", "String", {"NS": ["1"]}, "[0]"),
        ("Set", "String", {"L": [{"NULL": True}]}, "[0]"),
        ("Set", "String", {"S": "a"}, ""),
        ("Map", "String", {"M": {"k": {"M": {}}}}, ".k"),
        ("Map", "String", {"L": []}, ""),
    ],
)
def test_other_stored_types_are_refused_at_their_place(
    kind: FeatureType, element: ScalarType, stored: AttributeValue, path: str
) -> None:
    """The feature and the element in it are named."""
    with pytest.raises(ValueRefused, match="another writer") as refused:
        a_codec(kind, element).from_attribute(stored)
    assert refused.value.path == f"tags{path}"


def test_max_bytes_counts_elements_as_dynamodb_does() -> None:
    """3 bytes for the list, 1 for each element and the elements themselves."""
    sent = b'["a","b"]'
    assert a_codec("List", "String", max_bytes=7).parse(sent, PATH)
    with pytest.raises(ValueRefused, match="takes 7 bytes"):
        a_codec("List", "String", max_bytes=6).parse(sent, PATH)


@pytest.mark.parametrize("kind", ["List", "Set", "Map"])
def test_a_container_without_element_type_has_no_codec(kind: FeatureType) -> None:
    """The declaration is at fault, and the field is named."""
    with pytest.raises(SpecInvalid, match="elementType"):
        a_codec(kind)


@pytest.mark.parametrize("element", ["Bool", "Json"])
def test_dynamodb_has_no_sets_of_these(element: ScalarType) -> None:
    """The message lists what a set may hold."""
    with pytest.raises(SpecInvalid, match="String, Int64, Float64, Timestamp, Bytes"):
        a_codec("Set", element)


@pytest.mark.parametrize(
    ("sent", "fragment"),
    [
        ("[0.1, 1, -0.0]", "[0.1,1.0,0.0]"),
        ("[0.1000000000001, 16777217, 3.4028234663852886e38]", "[0.1,16777216.0,3.4028235e38]"),
        ("[1e-45, 1e-60, 1.17549435e-38]", "[1e-45,0.0,1.1754944e-38]"),
        ("[0.3333333333333333, 123456.789, 1e10]", "[0.33333334,123456.79,10000000000.0]"),
    ],
)
def test_vectors_are_float32_in_the_fewest_digits(sent: str, fragment: str) -> None:
    """Rounded once on the way in; the digits shown read as the same float32."""
    codec = a_codec("Vector", dimensions=3)
    assert codec.parse(sent.encode(), PATH) == fragment.encode()
    assert codec.parse(fragment.encode(), PATH) == fragment.encode()
    stored = codec.to_attribute(fragment.encode())
    assert len(stored["B"]) == 12
    assert codec.from_attribute(stored) == fragment.encode()


def test_vectors_are_packed_little_endian() -> None:
    """Any tool can read them: 4 bytes a number."""
    assert a_codec("Vector", dimensions=2).to_attribute(b"[1.0,-2.5]") == {"B": b"\x00\x00\x80?\x00\x00 \xc0"}


@pytest.mark.parametrize(
    ("sent", "reason", "path"),
    [
        ("[1,2]", "WrongDimensions", ""),
        ("[1,2,3,4]", "WrongDimensions", ""),
        ("[1,null,3]", "WrongType", "[1]"),
        ("[1,true,3]", "WrongType", "[1]"),
        ('[1,2,"3"]', "WrongType", "[2]"),
        ("[1,2,3.5e38]", "Float32OutOfRange", "[2]"),
        ("[1,3.4028235677973366e38,3]", "Float32OutOfRange", "[1]"),
        ("[-3.4028235677973366e38,2,3]", "Float32OutOfRange", "[0]"),
        ("[1,2,-1" + "0" * 200 + "]", "Float32OutOfRange", "[2]"),
        ("[1,NaN,3]", "NotFinite", "[1]"),
        ("{}", "WrongType", ""),
    ],
)
def test_vectors_that_do_not_fit_are_refused(sent: str, reason: str, path: str) -> None:
    """Dimensions, nulls, strings, overflow: each with its place."""
    with pytest.raises(ValueRefused) as refused:
        a_codec("Vector", dimensions=3).parse(sent.encode(), PATH)
    assert (refused.value.reason, refused.value.path) == (reason, PATH + path)


@pytest.mark.parametrize(
    ("stored", "reason"),
    [
        ({"B": b"\x00" * 8}, "WrongDimensions"),
        ({"B": b"\x00" * 13}, "WrongDimensions"),
        ({"B": b"\x00\x00\x80\x7f" * 3}, "NotFinite"),
        ({"L": []}, "WrongStoredType"),
    ],
)
def test_stored_vectors_of_other_writers_are_checked(stored: AttributeValue, reason: str) -> None:
    """Wrong length, infinities, other types."""
    with pytest.raises(ValueRefused) as refused:
        a_codec("Vector", dimensions=3).from_attribute(stored)
    assert refused.value.reason == reason


@pytest.mark.parametrize(("size", "numbers"), [(8, "2"), (16, "4"), (10, "2.5"), (0, "0")])
def test_a_stored_vector_of_another_length_is_told_in_numbers(size: int, numbers: str) -> None:
    """Who declared other dimensions sees which; a fraction says that it is something else altogether."""
    with pytest.raises(ValueRefused, match=f"has {numbers} numbers; this Vector has 3"):
        a_codec("Vector", dimensions=3).from_attribute({"B": b"\x00" * size})


@pytest.mark.parametrize("dimensions", [None, 0])
def test_a_vector_without_dimensions_has_no_codec(dimensions: int | None) -> None:
    """The declaration is at fault."""
    with pytest.raises(SpecInvalid, match="dimensions"):
        a_codec("Vector", dimensions=dimensions)
