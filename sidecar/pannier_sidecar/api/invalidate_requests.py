"""The body of an invalidation: which ids another writer changed behind Pannier's back."""

from __future__ import annotations

from typing import Final

import msgspec

MAX_INVALIDATED_IDS: Final = 1_000


class InvalidateRequest(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """The body of ``POST /v1/features/invalidate``."""

    group: str
    ids: tuple[str, ...]


invalidate_decoder: Final = msgspec.json.Decoder(InvalidateRequest)
