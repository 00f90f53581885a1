"""Parsers of single settings: text of a flag or the environment -> a value, or ValueError with what is right.

Pure, but for `secret_url`, which reads the file that ``@FILE`` names. What belongs to which setting, and what
holds between settings, is in `settings`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import SplitResult, urlsplit, urlunsplit

_SIZE: Final = re.compile(r"(\d{1,18}(?:\.\d{1,18})?)\s*([KMGT]?i?B?)", re.IGNORECASE)
_POWERS: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_MAX_PORT: Final = 65_535
_REDIS_DATABASE: Final = re.compile(r"(?:/[0-9]{0,6})?")
REDIS_SCHEMES: Final = ("redis", "rediss", "redis+cluster", "rediss+cluster")


class Address(NamedTuple):
    """Where to listen; port 0 means any free one."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class SecretUrl:
    """A URL that may hold a password: it prints without, `reveal` gives it whole."""

    __slots__ = ("_url",)

    def __init__(self, url: str) -> None:
        self._url = url

    def reveal(self) -> str:
        """The URL with its password, for the client that connects."""
        return self._url

    @property
    def scheme(self) -> str:
        """What comes before ``://``."""
        return urlsplit(self._url).scheme

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretUrl) and other._url == self._url

    def __hash__(self) -> int:
        return hash(self._url)

    def __str__(self) -> str:
        parts = urlsplit(self._url)
        _, at, place = parts.netloc.rpartition("@")
        netloc = f"***@{place}" if at else place
        return urlunsplit(SplitResult(parts.scheme, netloc, parts.path, "***" if parts.query else "", ""))

    def __repr__(self) -> str:
        return f"<SecretUrl {self}>"


def address(text: str) -> Address:
    """``HOST:PORT``; IPv6 in brackets."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > _MAX_PORT:
        raise ValueError(f"{text!r} is no HOST:PORT, such as 127.0.0.1:8470 or [::1]:8470")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{text!r}: an IPv6 host needs brackets, such as [::1]:8470")
    return Address(host, int(port))


def size_bytes(text: str) -> int:
    """``512MiB``, ``1.5G``, ``1048576``: powers of 1024 with ``i`` or without ``B``, of 1000 as ``MB``."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no size, such as 512MiB or 2GiB")
    unit = match[2].lower()
    base = 1000 if unit.endswith("b") and "i" not in unit and unit != "b" else 1024
    return int(float(match[1]) * base ** _POWERS[unit.rstrip("b").rstrip("i")])


def whole_number(low: int, high: int) -> Callable[[str], int]:
    """Make a parser of integers between two bounds."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"-?\d{1,18}", text.strip()) or not low <= int(text) <= high:
            raise ValueError(f"{text!r} is no whole number from {low} to {high}")
        return int(text)

    return parse


def one_of(*choices: str) -> Callable[[str], str]:
    """Make a parser that takes only these words."""

    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"{text!r} is none of {', '.join(choices)}")
        return text

    return parse


def matching(pattern: str, example: str) -> Callable[[str], str]:
    """Make a parser of text with a given form."""

    def parse(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"{text!r} does not match {pattern}, such as {example}")
        return text

    return parse


def switch(text: str) -> bool:
    """Parse yes or no as environments spell it."""
    word = text.strip().lower()
    if word in {"1", "true", "yes", "on"}:
        return True
    if word in {"0", "false", "no", "off", ""}:
        return False
    raise ValueError(f"{text!r} is neither true nor false")


def directory_path(text: str) -> Path:
    """Parse a path; whether it is there is seen when it is used."""
    if not text or "\0" in text:
        raise ValueError("is no path")
    return Path(text).expanduser()


def http_url(text: str) -> str:
    """Parse an ``http`` or ``https`` URL without credentials."""
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("is no http:// or https:// URL, such as http://127.0.0.1:8000")
    if "@" in parts.netloc:
        raise ValueError("holds credentials; they belong into the AWS settings")
    return text


def secret_url(text: str) -> SecretUrl:
    """Parse a Redis URL, or ``@FILE`` that holds one. No message repeats the URL: it may hold a password."""
    if text.startswith("@"):
        try:
            text = Path(text[1:]).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"the file cannot be read: {error}") from error
    try:
        parts = urlsplit(text)
        usable = parts.scheme in REDIS_SCHEMES and parts.hostname and parts.port != 0 and text.isprintable()
        usable = usable and _REDIS_DATABASE.fullmatch(parts.path) and not any(map(str.isspace, text))
    except ValueError:
        usable = False
    if not usable:
        raise ValueError(
            f"is no URL of {', '.join(f'{s}://' for s in REDIS_SCHEMES)}, such as redis://127.0.0.1:6379/0"
        )
    return SecretUrl(text)
