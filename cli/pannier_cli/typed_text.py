"""Text from a command line -> the JSON value that a feature's declared type asks for.

The text is taken as JSON where that fits the type, else as a string: ``visits=3``, ``name=bike``,
``name='"3"'``, ``tags='["a","b"]'``. Whether the value may be stored is for the sidecar to say.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

_JSON_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "String": (str,),
    "Bytes": (str,),
    "Timestamp": (str,),
    "Int64": (int,),
    "Float64": (int, float),
    "Bool": (bool,),
    "List": (list,),
    "Set": (list,),
    "Vector": (list,),
    "Map": (dict,),
}


def typed_value(text: str, feature_type: str | None) -> Any:
    """Return the value that ``text`` stands for; a type that is not known (None) takes any JSON."""
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return text
    fitting = _JSON_TYPES.get(feature_type or "")
    if value is None or fitting is None:
        return value
    # bool is an int in Python and never in JSON
    if isinstance(value, bool) and bool not in fitting:
        return text
    return value if isinstance(value, fitting) else text
