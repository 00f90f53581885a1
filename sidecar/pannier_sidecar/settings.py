"""Flags and environment -> one frozen `Settings`, or one message that names everything wrong with them.

`OPTIONS` is the list: the command line makes its flags of it, `load` reads the environment twins. A flag wins
over the environment, which wins over the default.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, cast

from pannier.errors import PannierError, Problem
from pannier_sidecar import setting_values as values
from pannier_sidecar.setting_values import Address, SecretUrl

DEFAULT_HTTP: Final = Address("127.0.0.1", 8470)
AWS_SIGNS: Final = (
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_PROFILE",
    "AWS_ACCESS_KEY_ID",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_DYNAMODB",
)
"""Any of these in the environment means that DynamoDB is meant."""

StoreKind = Literal["dynamodb", "embedded"]
LogFormat = Literal["auto", "json", "console"]


class SettingsInvalid(PannierError):
    """The sidecar cannot start like this; ``problems`` names every bad setting."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        lines = "\n".join(f"  {problem}" for problem in self.problems)
        super().__init__(f"{len(self.problems)} bad setting(s):\n{lines}")


class Option(NamedTuple):
    """One setting: ``name`` is the attribute of `Settings`; flag and environment twin follow from it."""

    name: str
    metavar: str
    parser: Callable[[str], Any]
    default: str | None
    help: str
    is_switch: bool = False

    @property
    def flag(self) -> str:
        """How the command line spells it."""
        return "--" + self.name.replace("_", "-")

    @property
    def env(self) -> str:
        """How the environment spells it."""
        return "PANNIER_" + self.name.upper()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything ``pannier serve`` can be told, checked."""

    specs: Path | None
    catalog: Path | None
    http: Address | None
    """None where only the Unix socket serves."""
    uds: Path | None
    admin: Address
    redis_url: SecretUrl | None
    store: StoreKind
    dynamodb_endpoint_url: str | None
    data_dir: Path
    create_tables: bool
    l1_bytes: int
    namespace: str
    table_prefix: str
    request_timeout_ms: int
    l2_timeout_ms: int
    l3_timeout_ms: int
    write_timeout_ms: int
    backfill_entries: int
    drain_seconds: int
    log_format: LogFormat
    log_level: str


_MILLISECONDS: Final = values.whole_number(1, 60_000)

OPTIONS: Final = (
    Option(
        "specs", "DIR", values.directory_path, None, "Serve the FeatureGroup manifests (YAML) of a directory."
    ),
    Option(
        "catalog",
        "DIR",
        values.directory_path,
        None,
        "Serve a mounted catalog, and follow it when it changes.",
    ),
    Option(
        "http",
        "HOST:PORT",
        values.address,
        None,
        "Where apps reach the data API: loopback only. Default 127.0.0.1:8470, or only --uds if that is set.",
    ),
    Option(
        "uds",
        "PATH",
        values.directory_path,
        None,
        "Unix socket for the data API, instead of or beside --http.",
    ),
    Option(
        "admin", "HOST:PORT", values.address, "0.0.0.0:8471", "Where health, metrics and status are served."
    ),
    Option(
        "redis_url",
        "URL|@FILE",
        values.secret_url,
        None,
        "The shared L2 cache: redis://, rediss:// or redis+cluster://. Absent: no L2.",
    ),
    Option(
        "store",
        "dynamodb|embedded",
        values.one_of("dynamodb", "embedded"),
        None,
        "L3. Default: embedded when no AWS setting is present, else dynamodb.",
    ),
    Option(
        "dynamodb_endpoint_url",
        "URL",
        values.http_url,
        None,
        "A DynamoDB other than AWS's (an emulator, a VPC endpoint).",
    ),
    Option(
        "data_dir", "DIR", values.directory_path, "pannier-data", "Where the embedded store keeps its file."
    ),
    Option(
        "create_tables",
        "",
        values.switch,
        "false",
        "Create missing tables at start. For development only.",
        is_switch=True,
    ),
    Option("l1_bytes", "SIZE", values.size_bytes, "256MiB", "Upper bound of the in-process cache."),
    Option(
        "namespace",
        "NAME",
        values.matching(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", "default"),
        "default",
        "Namespace of manifests that name none.",
    ),
    Option(
        "table_prefix",
        "PREFIX",
        values.matching(r"[A-Za-z0-9_-]{1,64}", "pannier"),
        "pannier",
        "First part of default table names: <prefix>.<namespace>.<groupName>.",
    ),
    Option(
        "request_timeout_ms", "MS", _MILLISECONDS, "1000", "Budget of a read that names no timeout_ms itself."
    ),
    Option("l2_timeout_ms", "MS", _MILLISECONDS, "100", "How long one call to Redis may take."),
    Option("l3_timeout_ms", "MS", _MILLISECONDS, "500", "How long one call to L3 may take within a read."),
    Option("write_timeout_ms", "MS", _MILLISECONDS, "5000", "How long the writes of one request may take."),
    Option(
        "backfill_entries",
        "N",
        values.whole_number(1, 10_000_000),
        "10000",
        "How many entries may wait to be written to L2.",
    ),
    Option(
        "drain_seconds",
        "S",
        values.whole_number(0, 3600),
        "10",
        "How long a stopping sidecar finishes requests and confirms writes in L2.",
    ),
    Option(
        "log_format",
        "auto|json|console",
        values.one_of("auto", "json", "console"),
        "auto",
        "auto: console on a terminal, JSON lines otherwise.",
    ),
    Option(
        "log_level",
        "LEVEL",
        values.one_of("debug", "info", "warning", "error"),
        "info",
        "What is logged at least.",
    ),
)


def load(flags: Mapping[str, str | bool | None], env: Mapping[str, str]) -> Settings:
    """Check everything at once; raises `SettingsInvalid` naming every bad setting.

    ``flags`` holds by option name what the command line was given; None or absent where it was not.
    """
    problems: list[Problem] = []
    parsed: dict[str, Any] = {}
    for option in OPTIONS:
        source, text = _given(option, flags, env)
        try:
            parsed[option.name] = (
                text if isinstance(text, bool) else None if text is None else option.parser(text)
            )
        except ValueError as error:
            parsed[option.name] = None
            problems.append(Problem(source, "InvalidSetting", str(error)))
    problems += _across(parsed, failed={problem.path for problem in problems})
    if problems:
        raise SettingsInvalid(problems)
    if parsed["store"] is None:
        parsed["store"] = _default_store(parsed, env)
    if parsed["http"] is None and parsed["uds"] is None:
        parsed["http"] = DEFAULT_HTTP
    return Settings(**parsed)


def _given(
    option: Option, flags: Mapping[str, str | bool | None], env: Mapping[str, str]
) -> tuple[str, str | bool | None]:
    """Where a setting's text comes from, and the text. An empty environment twin counts as absent."""
    given = flags.get(option.name)
    if given is not None and given is not False:
        return option.flag, given
    if env.get(option.env):
        return option.env, env[option.env]
    return option.flag, option.default


def _across(parsed: Mapping[str, Any], failed: set[str]) -> list[Problem]:
    """What must hold between settings and cannot be said of one alone."""
    problems = []
    sources = [parsed["specs"], parsed["catalog"]]
    source_failed = failed & {"--specs", "--catalog", "PANNIER_SPECS", "PANNIER_CATALOG"}
    if all(sources) or (not any(sources) and not source_failed):
        problems.append(
            Problem("--specs", "InvalidSetting", "give exactly one of --specs DIR and --catalog DIR")
        )
    http = cast("Address | None", parsed["http"])
    if http is not None and not http.is_loopback:
        problems.append(
            Problem(
                "--http",
                "NotLoopback",
                f"{http} can be reached from other machines; the data API has no access control and is for"
                " the pod's own containers: use 127.0.0.1 or ::1, or a Unix socket (--uds)",
            )
        )
    if parsed["store"] == "embedded" and parsed["dynamodb_endpoint_url"] is not None:
        problems.append(
            Problem("--dynamodb-endpoint-url", "InvalidSetting", "has no meaning with --store embedded")
        )
    return problems


def _default_store(parsed: Mapping[str, Any], env: Mapping[str, str]) -> StoreKind:
    if parsed["dynamodb_endpoint_url"] is not None or any(env.get(sign) for sign in AWS_SIGNS):
        return "dynamodb"
    return "embedded"
