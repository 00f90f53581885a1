"""Flags and environment -> one frozen `Settings`, or one message that names everything wrong with them.

`OPTIONS` is the list: the command line makes its flags of it, `load` reads the environment twins
(`pannier.options`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pannier import option_values as values
from pannier.option_values import Address
from pannier.options import LOGGING, LogFormat, Option, SettingsInvalid, parse_options
from pannier_sidecar.setting_rules import StoreKind, across, default_store
from pannier_sidecar.setting_values import SecretUrl, directory_path, secret_url

DEFAULT_HTTP: Final = Address("127.0.0.1", 8470)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything ``pannier serve`` can be told, checked."""

    specs: Path | None
    catalog: Path | None
    operator_url: str | None
    """None = the mounted catalog is all there is."""
    operator_ca: Path | None
    operator_authority: str | None
    operator_token: Path | None
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
    reads_in_flight: int
    writes_in_flight: int
    loop_delay_ms: int
    l2_reads_in_flight: int
    l3_reads_in_flight: int
    l3_writes_in_flight: int
    hedge_percent: int
    on_demand_ca: Path | None
    on_demand_at: Mapping[str, Address]
    backfill_entries: int
    drain_seconds: int
    log_format: LogFormat
    log_level: str


_MILLISECONDS: Final = values.whole_number(1, 60_000)
_IN_FLIGHT: Final = values.whole_number(1, 100_000)

OPTIONS: Final = (
    Option("specs", "DIR", directory_path, None, "Serve the FeatureGroup manifests (YAML) of a directory."),
    Option(
        "catalog",
        "DIR",
        directory_path,
        None,
        "Serve a mounted catalog, and follow it when it changes.",
    ),
    Option(
        "operator_url",
        "URL",
        values.http_url,
        None,
        "Where the operator's catalog endpoint is: edits are heard of at once. Absent: with the mounted"
        " catalog, about a minute later.",
    ),
    Option(
        "operator_ca",
        "FILE",
        directory_path,
        None,
        "PEM of the authority that vouches for it. Absent: operator-ca.crt of the mounted catalog.",
    ),
    Option(
        "operator_authority",
        "PEM",
        str,
        None,
        "The same as text, for as long as no catalog is mounted: who adds sidecars to pods knows it.",
    ),
    Option(
        "operator_token",
        "FILE",
        directory_path,
        None,
        "Token of the pod's service account for audience pannier.dev, which proves the namespace.",
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
        directory_path,
        None,
        "Unix socket for the data API, instead of or beside --http.",
    ),
    Option(
        "admin", "HOST:PORT", values.address, "0.0.0.0:8471", "Where health, metrics and status are served."
    ),
    Option(
        "redis_url",
        "URL|@FILE",
        secret_url,
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
    Option("data_dir", "DIR", directory_path, "pannier-data", "Where the embedded store keeps its file."),
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
        "reads_in_flight",
        "N",
        _IN_FLIGHT,
        "1024",
        "How many reads that L1 cannot answer alone may be under way; what exceeds it is answered 503.",
    ),
    Option(
        "writes_in_flight",
        "N",
        _IN_FLIGHT,
        "256",
        "How many write requests may be under way; what exceeds it is answered 503.",
    ),
    Option(
        "loop_delay_ms",
        "MS",
        values.whole_number(0, 60_000),
        "5",
        "How late the event loop may run before fewer requests are let in: a core is full. 0: never fewer.",
    ),
    Option("l2_reads_in_flight", "N", _IN_FLIGHT, "64", "How many reads of Redis may be in flight."),
    Option("l3_reads_in_flight", "N", _IN_FLIGHT, "128", "How many calls that read L3 may be in flight."),
    Option("l3_writes_in_flight", "N", _IN_FLIGHT, "128", "How many calls that write L3 may be in flight."),
    Option(
        "hedge_percent",
        "PERCENT",
        values.whole_number(0, 100),
        "5",
        "How many reads of DynamoDB may be tried a second time, if the first answer is late; 0: none.",
    ),
    Option(
        "on_demand_ca",
        "FILE",
        directory_path,
        None,
        "PEM of the authorities that vouch for feature servers of scheme HTTPS. Absent: on-demand-ca.crt of"
        " the mounted catalog, and without that the system's.",
    ),
    Option(
        "on_demand_at",
        "NAME.NAMESPACE=HOST:PORT,...",
        values.addresses_by_service,
        "",
        "Where the Services of feature servers are outside of a cluster. For development only.",
    ),
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
    *LOGGING,
)


def load(flags: Mapping[str, str | bool | None], env: Mapping[str, str]) -> Settings:
    """Check everything at once; raises `SettingsInvalid` naming every bad setting.

    ``flags`` holds by option name what the command line was given; None or absent where it was not.
    """
    parsed, problems = parse_options(OPTIONS, flags, env)
    problems += across(parsed, failed={problem.path for problem in problems})
    if problems:
        raise SettingsInvalid(problems)
    if parsed["store"] is None:
        parsed["store"] = default_store(parsed, env)
    if parsed["http"] is None and parsed["uds"] is None:
        parsed["http"] = DEFAULT_HTTP
    return Settings(**parsed)
