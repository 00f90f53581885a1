"""Settings and the list of shared tables: what is taken, and what is said of bad ones."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from pannier.crd import crd_manifest
from pannier.options import SettingsInvalid
from pannier_operator.crd_check import missing_fields
from pannier_operator.errors import CannotStart
from pannier_operator.settings import load
from pannier_operator.shared_tables import read_shared_tables


def test_nothing_is_needed() -> None:
    """In a pod every setting has a default."""
    settings = load({}, {})
    assert settings.namespaces == ()
    assert settings.table_prefix == "pannier"
    assert (settings.lease_seconds, settings.lease_renew_seconds, settings.lease_retry_seconds) == (15, 10, 2)


def test_every_bad_setting_is_named_in_one_message() -> None:
    """Flags, environment and what must hold between settings."""
    flags: dict[str, Any] = {"namespaces": "a,B!", "workers": "0"}
    with pytest.raises(SettingsInvalid) as caught:
        load(flags, {"PANNIER_LEASE_RENEW_SECONDS": "20", "PANNIER_ADMIN": "nowhere"})
    named = {problem.path for problem in caught.value.problems}
    assert named == {"--namespaces", "--workers", "PANNIER_ADMIN", "--lease-renew-seconds"}


def test_namespaces_are_a_list() -> None:
    """Names are separated by commas."""
    assert load({"namespaces": "a, b"}, {}).namespaces == ("a", "b")


def test_a_webhook_needs_its_certificate() -> None:
    """All three settings or none; what is absent is named."""
    assert load({}, {}).admission is None
    with pytest.raises(
        SettingsInvalid, match=r"--admission-certificate and --admission-key, which are absent"
    ):
        load({"admission": "0.0.0.0:8473"}, {})
    with pytest.raises(SettingsInvalid, match="goes with --admission or --catalog-feed"):
        load({"admission_certificate": "tls.crt", "admission_key": "tls.key"}, {})


def test_a_catalog_endpoint_needs_a_certificate_and_the_rest_needs_it() -> None:
    """It has the webhook's pair; an authority without it would vouch for nobody."""
    with pytest.raises(SettingsInvalid, match=r"--catalog-feed.*--admission-key, which is absent"):
        load({"catalog_feed": "0.0.0.0:8474", "admission_certificate": "tls.crt"}, {})
    with pytest.raises(SettingsInvalid, match=r"--catalog-authority.*goes with --catalog-feed"):
        load({"catalog_authority": "ca.crt"}, {})
    with pytest.raises(SettingsInvalid, match=r"--count-injected-pods.*goes with --catalog-feed"):
        load({"count_injected_pods": True}, {})
    pair = {"admission_certificate": "tls.crt", "admission_key": "tls.key"}
    assert load({"catalog_feed": "0.0.0.0:8474", **pair}, {}).admission is None


def test_the_list_of_shared_tables_is_checked(tmp_path: Path) -> None:
    """The same settings as storage.dedicated, with the same bounds."""
    path = tmp_path / "tables.yaml"
    path.write_text(
        "- name: features-online\n  settings: {billingMode: PayPerRequest}\n- name: features-cold\n"
    )
    assert [spec.name for spec in read_shared_tables(str(path))] == ["features-online", "features-cold"]
    assert read_shared_tables(None) == ()
    for text, words in [
        ("- nam: x", "name"),
        ("- name: a#b", "name"),
        ("- name: abc\n- name: abc", "twice"),
        ("]", "cannot be read"),
    ]:
        path.write_text(text)
        with pytest.raises(CannotStart, match=words):
            read_shared_tables(str(path))
    with pytest.raises(CannotStart, match="cannot be read"):
        read_shared_tables(str(tmp_path / "none.yaml"))


def test_an_older_crd_is_found_by_its_missing_fields() -> None:
    """A field that would be pruned silently keeps the operator from starting; more fields do no harm."""
    served = copy.deepcopy(crd_manifest())
    assert missing_fields(served) == []
    schema = served["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    schema["spec"]["properties"]["fromTheFuture"] = {"type": "string"}
    assert missing_fields(served) == []
    del schema["status"]["properties"]["config"]
    del schema["spec"]["properties"]["features"]["items"]["properties"]["maxBytes"]
    assert missing_fields(served)[0] == "spec.features[].maxBytes"
    assert "status.config.revision" in missing_fields(served)
