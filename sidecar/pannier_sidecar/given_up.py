"""Loads that ended by a bug or by shutdown: readers see an unknown row, the log says why."""

from __future__ import annotations

import logging

from pannier_sidecar.entry.timeline import Timeline
from pannier_sidecar.errors import TierError, TierUnavailable
from pannier_sidecar.known import Loaded

log = logging.getLogger(__name__)


def given_up(reason: BaseException | None) -> Loaded:
    """How the load of a key ended that nothing came of; None = it was told to stop."""
    return Loaded(None, "l3", error=_error(reason))


def range_given_up(reason: BaseException | None) -> Timeline | TierError:
    """The same of a range."""
    return _error(reason)


def _error(reason: BaseException | None) -> TierError:
    if reason is not None:
        log.error("a load crashed", exc_info=reason)
    return TierUnavailable("l3", "the load was given up")
