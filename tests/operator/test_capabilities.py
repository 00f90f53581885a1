"""The page of capability levels claims nothing that is not there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "docs" / name
    for name in (
        "iam.md",
        "operations/operator-runbook.md",
        "reference/capabilities.md",
        "reference/chart.md",
        "reference/operator.md",
    )
]
CAPABILITIES = (ROOT / "docs" / "reference" / "capabilities.md").read_text(encoding="utf-8")


def headings(page: Path) -> set[str]:
    found = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", text).casefold().replace(" ", "-") for text in found}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    """To a file of the repository, and to a heading that it has."""
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith("https://"):
            continue
        path, _, heading = target.partition("#")
        to = page.parent / path if path else page
        assert to.exists(), target
        assert not heading or heading in headings(to), target


def test_every_claim_names_a_test_or_a_file_that_is_there() -> None:
    """A row without one says that the thing is not there yet."""
    rows = [line for line in CAPABILITIES.splitlines() if line.startswith("| ") and "---" not in line]
    for row in rows:
        what, where, shown = (cell.strip() for cell in row.strip("|").split("|"))
        if what == "what" or what.startswith("Not yet"):
            continue
        files = re.findall(r"`((?:tests|charts|e2e)/[^`]+)`", f"{where} {shown}")
        assert files, what
        assert all((ROOT / file).exists() for file in files), row
