"""The reference page of the FeatureGroup."""

from __future__ import annotations

from pathlib import Path

import yaml

from pannier.spec_parsing import parse_feature_group
from pannier.spec_reference import reference_page

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "featuregroup.md"


def test_the_committed_page_is_what_the_models_generate() -> None:
    """Drift fails: write ``python -m pannier.spec_reference`` into the page."""
    assert PAGE.read_text(encoding="utf-8") == reference_page()


def test_the_example_of_the_page_is_sound() -> None:
    """What people copy first has to work."""
    example = reference_page().partition("```yaml\n")[2].partition("```")[0]
    assert parse_feature_group(yaml.safe_load(example)).spec.group_name == "recent_user_clicks"
