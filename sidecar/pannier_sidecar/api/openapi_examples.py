"""Examples of the OpenAPI document: the founding document's group. Tests hold them against the schemas."""

from __future__ import annotations

from typing import Any, Final

_CLICKS: Final = "recent_user_clicked_fleaMarketArticles"

READ_REQUEST: Final[dict[str, Any]] = {
    "reads": [
        {
            "group": _CLICKS,
            "ids": ["1234", "77"],
            "features": ["article_id"],
            "limit": 30,
            "since": 987000000,
            "until": "2001-04-19T04:25:21Z",
        },
        {"group": "user_keywords", "ids": ["1234"], "max_age_seconds": 60},
    ],
    "timeout_ms": 50,
}
READ_ANSWER: Final[dict[str, Any]] = {
    "results": [
        {
            "group": _CLICKS,
            "rows": [
                {
                    "id": "1234",
                    "status": "found",
                    "records": [{"timestamp": 987654321, "features": {"article_id": "a"}}],
                },
                {"id": "77", "status": "missing", "records": []},
            ],
        },
        {
            "group": "user_keywords",
            "rows": [{"id": "1234", "status": "found", "features": {"keywords": ["bike", "desk"]}}],
        },
    ]
}
ROW_DOCUMENT: Final[dict[str, Any]] = {
    "group": "user_keywords",
    "id": "1234",
    "status": "found",
    "features": {"keywords": ["bike", "desk"]},
}
WRITE_REQUEST: Final[dict[str, Any]] = {
    "writes": [
        {
            "group": _CLICKS,
            "id": "1234",
            "timestamp": 987654321,
            "features": {"article_id": "a", "session_id": "1111"},
        }
    ]
}
WRITE_ANSWER: Final[dict[str, Any]] = {
    "results": [
        {
            "group": _CLICKS,
            "id": "1234",
            "verdict": "written",
            "timestamp": 987654321,
            "event_time": "2001-04-19T04:25:21.000000Z",
        }
    ]
}
ROW_BODY: Final[dict[str, Any]] = {
    "features": {"article_id": "a", "session_id": "1111"},
    "timestamp": 987654321,
}
INVALIDATE_REQUEST: Final[dict[str, Any]] = {"group": "user_keywords", "ids": ["1234"]}
INVALIDATE_ANSWER: Final[dict[str, Any]] = {"group": "user_keywords", "invalidated": 1}
