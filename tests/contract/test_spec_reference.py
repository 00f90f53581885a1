"""The reference page of the FeatureGroup."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from pannier.spec_parsing import parse_feature_group
from pannier.spec_reference import reference_page

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "featuregroup.md"


def test_the_committed_page_is_what_the_models_generate() -> None:
    """Drift fails: `make reference`."""
    assert PAGE.read_text(encoding="utf-8") == reference_page()


def test_the_examples_of_the_page_are_sound() -> None:
    """What people copy first has to work: a timeline, a record with containers, a tie-breaker."""
    examples = re.findall(r"```yaml\n(.*?)```", reference_page(), re.DOTALL)
    groups = [parse_feature_group(yaml.safe_load(example)).spec for example in examples]
    assert [group.group_name for group in groups] == [
        "recent_user_clicks",
        "article_profile",
        "recent_orders",
    ]
    assert [group.is_timeline for group in groups] == [True, False, True]
    assert {"Map", "Vector", "Set", "Json"} <= {feature.type for feature in groups[1].features}


def test_the_page_links_to_headings_that_exist() -> None:
    """A link into another page names one of its headings."""
    for page, heading in re.findall(r"\]\(([\w-]+\.md)#([\w-]+)\)", reference_page()):
        headings = re.findall(r"^#+ (.+)$", (PAGE.parent / page).read_text(encoding="utf-8"), re.MULTILINE)
        assert heading in {text.casefold().replace(" ", "-") for text in headings}
