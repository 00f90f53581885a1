"""Parsers of settings that the sidecar alone has: paths, and URLs with a password.

The others are `pannier.option_values`. `secret_url` reads the file that ``@FILE`` names.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit, urlunsplit

from pannier.option_values import path_text

_REDIS_DATABASE: Final = re.compile(r"(?:/[0-9]{0,6})?")
REDIS_SCHEMES: Final = ("redis", "rediss", "redis+cluster", "rediss+cluster")


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


def directory_path(text: str) -> Path:
    """Parse a path; whether it is there is seen when it is used."""
    return Path(path_text(text)).expanduser()


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
