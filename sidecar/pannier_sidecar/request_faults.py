"""When one group fails a whole request: its feature server did not answer, and ``onFailure`` says Fail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pannier.errors import Problem
from pannier_sidecar.api.read_requests import Read
from pannier_sidecar.known import Loaded
from pannier_sidecar.read_shape import ResolvedRead
from pannier_sidecar.row import RowKey


def request_faults(
    asked: Sequence[Read], resolved: Sequence[ResolvedRead | Problem], served: Mapping[RowKey, Loaded]
) -> list[Problem]:
    """What fails the whole request; empty = it is answered, whatever is unknown in it."""
    faults = []
    for position, (read, found) in enumerate(zip(asked, resolved, strict=True)):
        server = None if isinstance(found, Problem) else found.shape.plan.server
        if isinstance(found, Problem) or server is None or not server.fails_request:
            continue
        errors = (served[found.key(row_id)] for row_id in found.ids)
        error = next((loaded.error for loaded in errors if loaded.entry is None), None)
        if error is not None:
            message = f"{read.group!r} was not computed, and fails requests (onFailure): {error}"
            faults.append(Problem(f"reads[{position}]", "OnDemandFailed", message))
    return faults
