"""Flags and environment to settings, and what is said of bad ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pannier.option_values import Address, size_bytes
from pannier.options import SettingsInvalid
from pannier_sidecar.setting_values import SecretUrl
from pannier_sidecar.settings import OPTIONS, Settings, load

SPECS: dict[str, str | bool | None] = {"specs": "groups"}


def refused(flags: dict[str, Any], env: dict[str, str] | None = None) -> dict[str, str]:
    """Messages by what they name."""
    with pytest.raises(SettingsInvalid) as caught:
        load(flags, env or {})
    return {problem.path: problem.message for problem in caught.value.problems}


def test_little_is_needed() -> None:
    """With a directory of manifests alone, everything else has a default."""
    settings = load(SPECS, {})
    assert settings.specs == Path("groups")
    assert settings.http == Address("127.0.0.1", 8470)
    assert settings.admin == Address("0.0.0.0", 8471)
    assert settings.store == "embedded"
    assert settings.redis_url is None
    assert settings.l1_bytes == 256 * 1024 * 1024
    assert settings.create_tables is False


def test_a_flag_wins_over_the_environment_which_wins_over_the_default() -> None:
    """Precedence holds option by option."""
    env = {"PANNIER_L1_BYTES": "1MiB", "PANNIER_ADMIN": "127.0.0.1:1"}
    settings = load({**SPECS, "l1_bytes": "2MiB", "admin": None}, env)
    assert settings.l1_bytes == 2 * 1024 * 1024
    assert settings.admin == Address("127.0.0.1", 1)


def test_an_empty_environment_twin_counts_as_absent() -> None:
    """Manifests often set variables to nothing to mean the default."""
    assert load(SPECS, {"PANNIER_L1_BYTES": ""}).l1_bytes == 256 * 1024 * 1024


def test_every_bad_setting_is_named_in_one_message() -> None:
    """Nobody has to start a sidecar five times to learn of five mistakes."""
    found = refused(
        {
            "specs": "a",
            "catalog": "b",
            "http": "0.0.0.0:8470",
            "l1_bytes": "lots",
            "store": "embedded",
            "dynamodb_endpoint_url": "http://127.0.0.1:8000",
        },
        {"PANNIER_ADMIN": "nowhere", "PANNIER_DRAIN_SECONDS": "-1", "PANNIER_CREATE_TABLES": "maybe"},
    )
    assert set(found) == {
        "--specs",
        "--http",
        "--l1-bytes",
        "--dynamodb-endpoint-url",
        "PANNIER_ADMIN",
        "PANNIER_DRAIN_SECONDS",
        "PANNIER_CREATE_TABLES",
    }
    assert "'lots' is no size, such as 512MiB" in found["--l1-bytes"]


@pytest.mark.parametrize("flags", [{}, {"specs": "a", "catalog": "b"}])
def test_exactly_one_source_of_groups(flags: dict[str, str]) -> None:
    """Neither none nor two: which one is meant must be said."""
    assert "exactly one of --specs DIR and --catalog DIR" in refused(flags)["--specs"]


@pytest.mark.parametrize("address", ["0.0.0.0:8470", "10.1.2.3:80", "[::]:8470", "example.org:80"])
def test_the_data_port_stays_on_the_machine(address: str) -> None:
    """The data API has no access control, so nothing beyond loopback may reach it."""
    assert "use 127.0.0.1 or ::1, or a Unix socket" in refused({**SPECS, "http": address})["--http"]


@pytest.mark.parametrize("address", ["127.0.0.1:0", "[::1]:8470", "localhost:8470", "127.9.9.9:1"])
def test_loopback_in_all_its_forms(address: str) -> None:
    """IPv4, IPv6 and the name are all loopback, and print as they were given."""
    assert str(load({**SPECS, "http": address}, {}).http) == address


def test_a_unix_socket_alone_opens_no_port() -> None:
    """With --uds the TCP port is opened only if it is asked for."""
    assert load({**SPECS, "uds": "/run/p.sock"}, {}).http is None
    both = load({**SPECS, "uds": "/run/p.sock", "http": "127.0.0.1:1"}, {})
    assert both.http == Address("127.0.0.1", 1)


@pytest.mark.parametrize(
    ("env", "store"),
    [
        ({}, "embedded"),
        ({"AWS_REGION": "eu-west-1"}, "dynamodb"),
        ({"AWS_ROLE_ARN": "arn:aws:iam::1:role/x"}, "dynamodb"),
        ({"PANNIER_DYNAMODB_ENDPOINT_URL": "http://127.0.0.1:1"}, "dynamodb"),
        ({"AWS_REGION": "eu-west-1", "PANNIER_STORE": "embedded"}, "embedded"),
        ({"AWS_REGION": ""}, "embedded"),
    ],
)
def test_the_store_follows_the_aws_settings(env: dict[str, str], store: str) -> None:
    """DynamoDB where anything of AWS is set up, the embedded store on a bare laptop."""
    assert load(SPECS, env).store == store


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("1048576", 1_048_576),
        ("512MiB", 512 * 1024**2),
        ("512 mib", 512 * 1024**2),
        ("1.5GiB", 3 * 1024**3 // 2),
        ("2G", 2 * 1024**3),
        ("64k", 65_536),
        ("1MB", 1_000_000),
        ("10B", 10),
    ],
)
def test_sizes(text: str, expected: int) -> None:
    """Sizes read as people and Kubernetes write them."""
    assert size_bytes(text) == expected


@pytest.mark.parametrize("text", ["", "MiB", "-1", "1e9", "1 000", "NaN", "5XB"])
def test_no_sizes(text: str) -> None:
    """Anything else is no size."""
    with pytest.raises(ValueError, match="is no size"):
        size_bytes(text)


@pytest.mark.parametrize("text", ["1", "yes", "TRUE", "on"])
def test_switches_by_environment(text: str) -> None:
    """Switches read as environments spell them."""
    assert load(SPECS, {"PANNIER_CREATE_TABLES": text}).create_tables is True


def test_the_redis_url_from_a_file(tmp_path: Path) -> None:
    """``@FILE`` keeps a password out of process lists; the newline at its end does no harm."""
    secret = tmp_path / "redis"
    secret.write_text("rediss://user:hunter2@cache.internal:6380/1\n")
    url = load({**SPECS, "redis_url": f"@{secret}"}, {}).redis_url
    assert url is not None
    assert url.reveal() == "rediss://user:hunter2@cache.internal:6380/1"


@pytest.mark.parametrize(
    "url", ["redis://u:hunter2@h:6379/0", "redis+cluster://:hunter2@h", "rediss://h?password=hunter2"]
)
def test_no_password_is_ever_printed(url: str) -> None:
    """Neither str nor repr of settings shows a secret."""
    settings = load({**SPECS, "redis_url": url}, {})
    assert "hunter2" not in f"{settings} {settings!r} {settings.redis_url}"
    assert "h" in str(settings.redis_url)


@pytest.mark.parametrize(
    "url",
    [
        "http://h:1",
        "localhost:6379",
        "redis://",
        "redis://h:notaport",
        "redis://h:0/hunter2",
        "hunter2",
        "redis://h/hunter2",
        "redis://a\nredis://b",
        "redis://h:1 hunter2",
    ],
)
def test_bad_redis_urls_are_refused_without_repeating_them(url: str) -> None:
    """The message says what would be right, and not what was given: it may hold a password."""
    message = refused({**SPECS, "redis_url": url})["--redis-url"]
    assert "such as redis://127.0.0.1:6379/0" in message
    assert "hunter2" not in message


def test_a_missing_secret_file_is_named(tmp_path: Path) -> None:
    """The operator of a sidecar learns which file is not there."""
    message = refused({**SPECS, "redis_url": f"@{tmp_path}/gone"})["--redis-url"]
    assert "cannot be read" in message
    assert "gone" in message


@pytest.mark.parametrize(
    "text", ["127.0.0.1", ":8470", "127.0.0.1:", "127.0.0.1:65536", "::1:8470", "a:b", "http://a:1"]
)
def test_no_addresses(text: str) -> None:
    """Host and port are both needed, IPv6 in brackets."""
    assert (
        "HOST:PORT" in refused({**SPECS, "admin": text})["--admin"]
        or "brackets" in refused({**SPECS, "admin": text})["--admin"]
    )


def test_options_describe_all_settings() -> None:
    """The command line can be made from OPTIONS alone: every field once, each with help and a twin."""
    assert [option.name for option in OPTIONS] == list(Settings.__dataclass_fields__)
    for option in OPTIONS:
        assert option.flag == "--" + option.name.replace("_", "-")
        assert option.env.startswith("PANNIER_")
        assert option.help.endswith(".")
        assert option.is_switch or option.metavar


def test_defaults_parse() -> None:
    """No default is refused by its own parser."""
    for option in OPTIONS:
        if option.default is not None:
            option.parser(option.default)


def test_secrets_compare_by_content() -> None:
    """Two settings of one URL are equal."""
    assert SecretUrl("redis://h") == SecretUrl("redis://h")
    assert len({SecretUrl("redis://h"), SecretUrl("redis://h")}) == 1
