"""What a kind is: the conversions of one type, between decoded JSON, a normal Python value and an attribute.

The *normal* value is one per meaning, so -0.0 is 0.0. Refusals carry a path relative to the value; whoever
knows the way there puts it in front. `scalars`, `containers` and `vector` hold the kinds.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pannier.errors import ValueRefused
from pannier.values.attributes import AttributeValue
from pannier.values.json_text import decode, encode, shown


class Kind:
    """Conversions of one type; ``normal`` is the checked Python form that the other methods exchange."""

    name: ClassVar[str]
    wanted: ClassVar[str]
    """What would be right, for messages."""
    plain: ClassVar[bool] = True
    """Whether the JSON encoder takes the normal value as it is."""

    def normal(self, value: Any) -> Any:
        """Decoded JSON (never None) -> normal value, or `ValueRefused`."""
        raise NotImplementedError

    def to_json(self, normal: Any) -> Any:
        """Normal value -> what the JSON encoder takes."""
        return normal

    def from_json(self, value: Any) -> Any:
        """Decoded canonical JSON -> normal value, without looking again at what is known to be right."""
        return value

    def store(self, normal: Any) -> AttributeValue:
        """Normal value -> attribute."""
        raise NotImplementedError

    def load(self, stored: AttributeValue) -> Any:
        """Attribute (never NULL) -> normal value, or `ValueRefused` where another writer stored otherwise."""
        raise NotImplementedError

    def fragment(self, value: Any) -> bytes:
        """Decoded JSON (never None) -> canonical JSON text, or `ValueRefused`."""
        return encode(self.to_json(self.normal(value)))

    def store_fragment(self, fragment: bytes) -> AttributeValue:
        """Canonical JSON text (never null) -> attribute."""
        return self.store(self.from_json(decode(fragment)))

    def load_fragment(self, stored: AttributeValue) -> bytes:
        """Attribute (never NULL) -> canonical JSON text, or `ValueRefused`."""
        return encode(self.to_json(self.load(stored)))

    def refuse(self, value: object) -> ValueRefused:
        """The refusal of JSON of a wrong type."""
        return ValueRefused("WrongType", f"wants {self.wanted}, got {shown(value)}")

    def refuse_stored(self, stored: AttributeValue) -> ValueRefused:
        """The refusal of an attribute that this kind never stores."""
        tag = next(iter(stored), "nothing")
        return ValueRefused(
            "WrongStoredType", f"is stored as {tag}, which is no {self.name}; did another writer put it?"
        )

    def __repr__(self) -> str:
        return f"<{self.name}>"
