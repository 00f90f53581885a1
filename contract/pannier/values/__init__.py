"""Feature values: JSON as apps send it -> canonical fragment -> what a store holds, and back.

A *fragment* is the canonical JSON of one value as bytes. It is made once per write or load and from there
only moved and spliced into answers. Stored values are DynamoDB-native, so partial updates are atomic and any
DynamoDB tool can read a table. null, absent, empty and a null element are four different values and stay so.

Not here: which feature may be written when (write intake), how an answer is put together (rendering).
Flow: `codec` puts a `kind` (`scalars`, `containers`, `vector`) between `json_text` and `attributes`.
"""

from __future__ import annotations

from pannier.values.attributes import (
    ITEM_MAX_BYTES,
    AttributeValue,
    from_opaque,
    is_opaque,
    item_bytes,
    opaque,
    stored_bytes,
)
from pannier.values.codec import NULL_FRAGMENT, FeatureCodec, codec_for
from pannier.values.json_text import explain_body

__all__ = [
    "ITEM_MAX_BYTES",
    "NULL_FRAGMENT",
    "AttributeValue",
    "FeatureCodec",
    "codec_for",
    "explain_body",
    "from_opaque",
    "is_opaque",
    "item_bytes",
    "opaque",
    "stored_bytes",
]
