"""Laws of all values under Hypothesis: round trips lose nothing, one value has one spelling, bounds hold."""

from __future__ import annotations

import base64
import datetime as dt
import struct
from typing import Any

import msgspec
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from pannier.catalog import CatalogFeature
from pannier.errors import ValueRefused
from pannier.times import parse_rfc3339
from pannier.values import codec_for, explain_body, from_opaque, is_opaque, item_bytes, opaque, stored_bytes
from pannier.values.attributes import ITEM_MAX_BYTES

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
FLOAT64 = st.floats(1e-130, 9.99e125) | st.floats(-9.99e125, -1e-130) | st.sampled_from([0.0, -0.0, 1e16])
BYTES = st.binary(max_size=8).map(lambda content: base64.b64encode(content).decode())
TIME = st.datetimes(timezones=st.just(dt.UTC)).map(dt.datetime.isoformat)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "String": TEXT,
    "Int64": INT64,
    "Float64": FLOAT64,
    "Bool": st.booleans(),
    "Bytes": BYTES,
    "Timestamp": TIME,
    "Json": JSON,
}
SET_IDENTITY: dict[str, Any] = {
    "Timestamp": parse_rfc3339,
    "Float64": lambda value: value + 0.0,
}
FLOAT32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
SLOW = settings(deadline=None, max_examples=150)


@st.composite
def features_and_values(draw: st.DrawFn) -> tuple[CatalogFeature, Any]:
    """A feature of any type with a value that it takes."""
    kind: Any = draw(st.sampled_from([*SCALARS, "List", "Set", "Map", "Vector"]))
    if kind in SCALARS:
        value = draw(st.none() | SCALARS[kind])
        return CatalogFeature(id=0, name="f", type=kind, max_bytes=393_216), value
    if kind == "Vector":
        value = draw(st.lists(FLOAT32, min_size=1, max_size=6))
        return CatalogFeature(id=0, name="f", type="Vector", dimensions=len(value)), value
    elements = SCALARS.keys() - {"Bool", "Json"} if kind == "Set" else SCALARS
    element: Any = draw(st.sampled_from(sorted(elements)))
    one = SCALARS[element]
    contents = {
        "List": st.lists(st.none() | one, max_size=4),
        "Set": st.lists(one, max_size=4, unique_by=SET_IDENTITY.get(element, str)),
        "Map": st.dictionaries(TEXT.filter(bool), st.none() | one, max_size=4),
    }
    return CatalogFeature(id=0, name="f", type=kind, element_type=element), draw(contents[kind])


@SLOW
@given(features_and_values())
def test_a_value_survives_every_way_through_the_system(case: tuple[CatalogFeature, Any]) -> None:
    """JSON to fragment to store to fragment; parsing a fragment changes nothing; no whitespace."""
    feature, value = case
    codec = codec_for(feature)
    fragment = codec.parse(msgspec.json.encode(value), "f")
    assert codec.parse(fragment, "f") == fragment
    stored = codec.to_attribute(fragment)
    assert codec.from_attribute(stored) == fragment
    assert codec.to_attribute(codec.from_attribute(stored)) == stored
    assert msgspec.json.encode(msgspec.json.decode(fragment)) == fragment


@SLOW
@given(features_and_values())
def test_spelling_does_not_matter(case: tuple[CatalogFeature, Any]) -> None:
    """Whitespace and escapes in the JSON sent leave no trace in the fragment."""
    feature, value = case
    compact = msgspec.json.encode(value)
    spacious = msgspec.json.format(compact, indent=3)
    codec = codec_for(feature)
    assert codec.parse(spacious, "f") == codec.parse(compact, "f")


@SLOW
@given(st.lists(TEXT, max_size=4, unique=True), st.randoms())
def test_the_order_of_a_set_does_not_matter(values: list[str], dice: Any) -> None:
    """However its elements come, it is one value."""
    codec = codec_for(CatalogFeature(id=0, name="f", type="Set", element_type="String"))
    shuffled = values.copy()
    dice.shuffle(shuffled)
    assert codec.parse(msgspec.json.encode(values), "f") == codec.parse(msgspec.json.encode(shuffled), "f")


@SLOW
@given(features_and_values())
def test_an_opaque_fragment_keeps_the_stored_value(case: tuple[CatalogFeature, Any]) -> None:
    """A sidecar with an older catalog carries it unread; one with a newer renders it exactly."""
    feature, value = case
    codec = codec_for(feature)
    fragment = codec.parse(msgspec.json.encode(value), "f")
    carried = opaque(codec.to_attribute(fragment))
    assert is_opaque(carried)
    assert not is_opaque(fragment)
    assert codec.from_attribute(from_opaque(carried)) == fragment


@SLOW
@given(features_and_values())
def test_the_stored_size_is_bounded_by_twice_the_fragment(case: tuple[CatalogFeature, Any]) -> None:
    """This is what lets small values go unmeasured, so it must never be wrong."""
    feature, value = case
    codec = codec_for(feature)
    fragment = codec.parse(msgspec.json.encode(value), "f")
    assert stored_bytes(codec.to_attribute(fragment)) <= 2 * len(fragment) + 3


@SLOW
@given(features_and_values())
@example((CatalogFeature(id=0, name="f", type="List", element_type="Int64"), [1] * 20))
@example((CatalogFeature(id=0, name="f", type="List", element_type="Bool"), []))
def test_max_bytes_is_exact_for_every_type(case: tuple[CatalogFeature, Any]) -> None:
    """A value that weighs so much as stored is taken, and refused by a feature that takes a byte less."""
    feature, value = case
    raw = msgspec.json.encode(value)
    fragment = codec_for(feature).parse(raw, "f")
    size = stored_bytes(codec_for(feature).to_attribute(fragment))
    assume(value is not None and size)
    for limit in (size, size + 1):
        assert codec_for(msgspec.structs.replace(feature, max_bytes=limit)).parse(raw, "f") == fragment
    with pytest.raises(ValueRefused) as refused:
        codec_for(msgspec.structs.replace(feature, max_bytes=size - 1)).parse(raw, "f")
    assert refused.value.reason == "ValueTooLarge"


@SLOW
@given(FLOAT32)
def test_a_vectors_number_has_the_fewest_digits_that_keep_it(number: float) -> None:
    """The text reads as the same float32, and no shorter rounding of it does."""
    codec = codec_for(CatalogFeature(id=0, name="f", type="Vector", dimensions=1))
    (shown,) = msgspec.json.decode(codec.parse(msgspec.json.encode([number]), "f"))
    assert _float32(shown) == number
    digits = len(repr(shown).partition("e")[0].replace(".", "").strip("-0"))
    if digits > 1:
        shorter = float(f"{number:.{digits - 1}g}")
        assert abs(shorter) > 3.4028235677973366e38 or _float32(shorter) != number


def _float32(number: float) -> float:
    (rounded,) = struct.unpack("<f", struct.pack("<f", number))
    return float(rounded)


@SLOW
@given(st.binary(max_size=40) | st.text(max_size=30).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_no_bytes_make_a_codec_fail_otherwise_than_by_refusing(raw: bytes) -> None:
    """Whatever arrives, the answer is a fragment or a `ValueRefused`."""
    for kind in ("String", "Int64", "Float64", "Bytes", "Timestamp", "Json"):
        codec = codec_for(CatalogFeature(id=0, name="f", type=kind))
        try:
            fragment = codec.parse(raw, "f")
        except ValueRefused:
            continue
        assert codec.from_attribute(codec.to_attribute(fragment)) == fragment


@pytest.mark.parametrize(
    ("attribute", "size"),
    [
        ({"S": "é"}, 2),
        ({"B": b"abc"}, 3),
        ({"BOOL": True}, 1),
        ({"NULL": True}, 1),
        ({"N": "0"}, 1),
        ({"N": "100"}, 2),
        ({"N": "123"}, 3),
        ({"N": "-123"}, 4),
        ({"N": "1.5"}, 3),
        ({"N": "1E-130"}, 2),
        ({"L": []}, 3),
        ({"L": [{"S": "a"}, {"NULL": True}]}, 7),
        ({"M": {"k": {"S": "a"}, "kk": {"BOOL": True}}}, 10),
        ({"SS": ["a", "é"]}, 3),
        ({"NS": ["1", "123", "-45"]}, 8),
        ({"BS": [b"ab", b""]}, 2),
    ],
)
def test_values_weigh_what_dynamodb_says(attribute: dict[str, Any], size: int) -> None:
    """The figures that real emulators gave when items were filled up to the limit."""
    assert stored_bytes(attribute) == size
    assert item_bytes({"name": attribute}) == size + 4


@pytest.mark.parametrize(
    ("number", "size"),
    [("0.0012", 2), ("0.012", 3), ("-0.012", 4), ("1234.5", 4), ("12E3", 3), ("12.50", 3), ("+007", 2)],
)
def test_a_number_weighs_a_byte_per_two_digits_counted_from_its_point(number: str, size: int) -> None:
    """However it is spelled: leading and trailing zeros, a plus and the exponent weigh nothing more."""
    assert stored_bytes({"N": number}) == size


def test_an_item_may_weigh_what_dynamodb_takes() -> None:
    """400 KB, counted in units of 1,024."""
    assert ITEM_MAX_BYTES == 409_600


@pytest.mark.parametrize(
    ("body", "path", "reason"),
    [
        (b'{"reads":[{"ids":["a","\\ud800"]}]}', "reads[0].ids[1]", "LoneSurrogate"),
        (b'{"writes":[{"features":{"price":NaN}}]}', "writes[0].features.price", "NotFinite"),
        (b'{"writes":[', "", "InvalidJson"),
        (b"\xff", "", "InvalidJson"),
    ],
)
def test_a_body_that_is_no_json_is_explained(body: bytes, path: str, reason: str) -> None:
    """What a decoder only calls malformed gets a place and a cause."""
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)) as refused:
        msgspec.json.decode(body)
    problem = explain_body(body, refused.value)
    assert (problem.path, problem.reason) == (path, reason)
