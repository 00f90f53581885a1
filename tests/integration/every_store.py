"""Opens each kind of L3 store for tests that run on all three, with the table of the store suite."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, cast

import pytest
from tests.integration.dynamodb_stores import a_store
from tests.integration.store_calls import NOW

from pannier_sidecar.clock import ManualClock
from pannier_sidecar.tiers.l3 import Store
from pannier_sidecar.tiers.l3_embedded import EmbeddedStore

KINDS = (
    "embedded",
    pytest.param("dynamodb_local", marks=pytest.mark.dynamodb),
    pytest.param("dynoxide", marks=pytest.mark.dynamodb),
)


def a_store_of(
    kind: str, request: pytest.FixtureRequest, directory: Path
) -> AbstractAsyncContextManager[Store]:
    """Name a store to open: embedded in ``directory``, or on an emulator whose fixture starts now."""
    if kind == "embedded":
        return EmbeddedStore(directory, ManualClock(NOW))
    url: Any = request.getfixturevalue(f"{kind}_url")
    return cast("AbstractAsyncContextManager[Store]", a_store(url))
