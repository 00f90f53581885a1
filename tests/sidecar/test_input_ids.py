"""Which row an input is."""

from __future__ import annotations

import pytest

from pannier.catalog import CatalogInput
from pannier_sidecar.input_ids import decoded, ids_fault, input_id


def an_input(**fields: object) -> CatalogInput:
    """Make one."""
    return CatalogInput(name="x", group="g", features=("f",), **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "row_id", "context", "expected"),
    [
        (an_input(), "a:b", b"", "a:b"),
        (an_input(id_from="IdPart", part=0), "a:b", b"", "a"),
        (an_input(id_from="IdPart", part=2, separator="--"), "a--b--c:d", b"", "c:d"),
        (an_input(id_from="IdPart", part=2), "a:b", b"", None),
        (an_input(id_from="IdPart", part=1), "a:", b"", None),
        (an_input(id_from="Context", context_key="u"), "a", b'{"u":"b"}', "b"),
        (an_input(id_from="Context", context_key="u"), "a", b'{"u":-7}', "-7"),
        (an_input(id_from="Context", context_key="u"), "a", b'{"u":true}', None),
        (an_input(id_from="Context", context_key="u"), "a", b'{"u":""}', None),
        (an_input(id_from="Context", context_key="u"), "a", b'{"v":"b"}', None),
        (an_input(id_from="Context", context_key="u"), "a", b"", None),
    ],
)
def test_an_input_is_read_by_its_id(
    one: CatalogInput, row_id: str, context: bytes, expected: str | None
) -> None:
    """The id, a part of it, or what the context says."""
    assert input_id(one, row_id, decoded(context)) == expected


def test_a_fault_names_the_id_that_has_it() -> None:
    """The first of them, counted from 0."""
    fault = ids_fault([an_input(), an_input(id_from="IdPart", part=1)], ["a:b", "c"], b"")
    assert fault is not None
    assert (fault.path, fault.reason) == ("ids[1]", "InputIdMissing")
    assert ids_fault([an_input()], ["c"], b"") is None
