"""What every L3 store must do, as one suite: the three `test_store_*` modules run it on their stores.

A module gives a ``store`` fixture and inherits `StoreSuite`. Each test names its groups apart, so a store may
be shared and keeps what earlier tests left.
"""

from __future__ import annotations

from tests.integration.suite_of_bulk import BulkSuite
from tests.integration.suite_of_lifetimes import DeleteSuite, RetentionSuite
from tests.integration.suite_of_timelines import EraseSuite, TimelineSuite
from tests.integration.suite_of_writes import MergeSuite, ReplaceSuite, RevisionSuite


class StoreSuite(
    MergeSuite, ReplaceSuite, RevisionSuite, RetentionSuite, DeleteSuite, TimelineSuite, EraseSuite, BulkSuite
):
    """All of it."""
