"""The founding document's example, byte for byte: whoever reads a table by hand must find exactly this."""

from __future__ import annotations

import msgspec

from pannier import keys
from pannier.catalog import CatalogFeature
from pannier.values import codec_for

GROUP = "recent_user_clicked_fleaMarketArticles"


def test_the_partition_key_is_group_and_id() -> None:
    """Group and id meet at a hash sign."""
    assert keys.partition_key(GROUP, "1234") == "recent_user_clicked_fleaMarketArticles#1234"


def test_the_sort_key_is_the_timestamp_in_digits() -> None:
    """Nine digits of seconds, as the document writes them."""
    assert keys.sort_key(keys.timestamp_digits(987654321, 9)) == "987654321"


def test_a_record_without_timestamp_has_the_word_null() -> None:
    """The document's string for 'no sort key'."""
    assert keys.RECORD_SORT_KEY == "null"


def test_features_are_stored_by_id() -> None:
    """Clicked article "a" and session "1111" become ``{"0": "a", "1": "1111"}``, plain strings."""
    features = [CatalogFeature(id=0, name="article_id", type="String")]
    features.append(CatalogFeature(id=1, name="session_id", type="String"))
    sent = {"article_id": msgspec.Raw(b'"a"'), "session_id": msgspec.Raw(b'"1111"')}
    stored = {}
    for feature in features:
        codec = codec_for(feature)
        stored[str(feature.id)] = codec.to_attribute(codec.parse(sent[feature.name], feature.name))
    assert stored == {"0": {"S": "a"}, "1": {"S": "1111"}}


def test_the_cache_key_names_format_namespace_group_and_id() -> None:
    """What a Redis ACL for one namespace has to match."""
    prefix = keys.cache_key_prefix("shop", GROUP)
    assert keys.cache_key(prefix, "1234") == f"pn1:shop/{GROUP}:{{1234}}"
