"""Parsers of single settings: text of a flag or the environment -> a value, or ValueError with what is right.

Pure. Both components read their settings with these (`pannier.options`); what concerns one of them alone,
such as the URL of Redis, is that component's.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple
from urllib.parse import urlsplit

_SIZE: Final = re.compile(r"(\d{1,18}(?:\.\d{1,18})?)\s*([KMGT]?i?B?)", re.IGNORECASE)
_POWERS: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_MAX_PORT: Final = 65_535
_SERVICE: Final = re.compile(r"[a-z0-9][-a-z0-9]{0,62}\.[a-z0-9][-a-z0-9]{0,62}")


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


def address(text: str) -> Address:
    """``HOST:PORT``; IPv6 in brackets."""
    if "://" in text:
        raise ValueError(f"{text!r} is a URL; an address is HOST:PORT, such as 127.0.0.1:8470")
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > _MAX_PORT:
        raise ValueError(f"{text!r} is no HOST:PORT, such as 127.0.0.1:8470 or [::1]:8470")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{text!r}: an IPv6 host needs brackets, such as [::1]:8470")
    return Address(host, int(port))


def addresses_by_service(text: str) -> Mapping[str, Address]:
    """Parse ``name.namespace=HOST:PORT,...``: where Services are that no cluster's DNS knows."""
    found = {}
    for pair in filter(None, text.split(",")):
        service, equals, where = pair.strip().partition("=")
        if not equals or not _SERVICE.fullmatch(service):
            raise ValueError(f"{pair!r} is no NAME.NAMESPACE=HOST:PORT, such as clock.default=127.0.0.1:9000")
        found[service] = address(where)
    return MappingProxyType(found)


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


def path_text(text: str) -> str:
    """Take the name of a file or directory; whether it is there is seen when it is used."""
    if not text or "\0" in text:
        raise ValueError("is no path")
    return text


def http_url(text: str) -> str:
    """Parse an ``http`` or ``https`` URL without credentials."""
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("is no http:// or https:// URL, such as http://127.0.0.1:8000")
    if "@" in parts.netloc:
        raise ValueError("holds credentials; they belong into the AWS settings")
    return text
