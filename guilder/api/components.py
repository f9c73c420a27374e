"""What the reference says once: the problem, ways to sign in, headers and parameters."""

from collections.abc import Mapping
from typing import Any, Final

from guilder.api.headers import REQUEST_ID
from guilder.api.replies import API
from guilder.api.schema import integer_schema
from guilder.core.money import MAX_AMOUNT

type Document = dict[str, Any]

LOGIN_PATH: Final = f"{API}/auth/login"

_STRING: Final = {"type": "string"}
_COUNT: Final = integer_schema(0, MAX_AMOUNT)
PROBLEM_FIELD: Final[Document] = {
    "type": "object",
    "title": "ProblemField",
    "description": "One field that breaks its rule, with one of pointer, parameter and header.",
    "required": ["code", "message"],
    "properties": {
        "pointer": {**_STRING, "description": "RFC 6901 pointer into the body."},
        "parameter": {**_STRING, "description": "The name of a parameter of the query."},
        "header": {**_STRING, "description": "The name of a header."},
        "code": {
            **_STRING,
            "description": "Stable; what programs look at. More may come.",
            "examples": ["required", "unknown_field", "wrong_type", "out_of_range", "too_long"],
        },
        "message": {**_STRING, "description": "For people."},
    },
}
PROBLEM: Final[Document] = {
    "type": "object",
    "title": "Problem",
    "description": "RFC 9457. Some codes carry more members, such as limit, used, remaining.",
    "required": ["type", "title", "status", "detail", "code", "request_id"],
    "additionalProperties": True,
    "properties": {
        "type": {
            **_STRING,
            "format": "uri-reference",
            "description": "Where the bank tells of the code; stable, one for each.",
        },
        "title": {**_STRING, "description": "The code in words."},
        "status": {**integer_schema(400, 599), "description": "The status of the answer."},
        "detail": {**_STRING, "description": "One sentence for people."},
        "code": {
            **_STRING,
            "description": "Stable; what programs look at. The list is open: more may come, at any "
            "operation.",
        },
        "request_id": {**_STRING, "description": "The id of the request, for our support."},
        "error": {
            **_STRING,
            "description": "Only where tokens are given out: the code of RFC 6749, section 5.2.",
        },
        "error_description": {
            **_STRING,
            "description": "Only where tokens are given out: the detail, for OAuth2 clients.",
        },
        "errors": {
            "type": "array",
            "description": "The fields that break their rules.",
            "items": {"$ref": "#/components/schemas/ProblemField"},
        },
    },
}
SECURITY_SCHEMES: Final[Document] = {
    "OAuth2Password": {
        "type": "oauth2",
        "description": "Signing in with e-mail address and password.",
        "flows": {"password": {"tokenUrl": LOGIN_PATH, "refreshUrl": LOGIN_PATH, "scopes": {}}},
    },
    "Bearer": {"type": "http", "scheme": "bearer", "description": "An access token."},
}
SECURITY: Final[list[dict[str, list[str]]]] = [{"OAuth2Password": []}, {"Bearer": []}]
REQUEST_ID_PARAMETER: Final[Document] = {
    "name": REQUEST_ID,
    "in": "header",
    "required": False,
    "description": "Your own id for the request, given back in the answer and kept in our logs. "
    "One that is longer than 128 or has other characters than A-Z a-z 0-9 . _ ~ : + / = @ - "
    "is replaced by a fresh one.",
    "schema": _STRING,
}
HEADERS: Final[Document] = {
    "RequestId": {"description": "The id of the request.", "schema": _STRING},
    "Replayed": {
        "description": "`true` when this is the answer that was given before.",
        "schema": _STRING,
    },
    "RateLimit": {
        "description": "The policy, how many requests are left (`r`) and in how many seconds all "
        "are there again (`t`), as a structured field.",
        "schema": _STRING,
    },
    "RateLimitPolicy": {
        "description": "The policy, its quota (`q`) and its window in seconds (`w`), as a "
        "structured field.",
        "schema": _STRING,
    },
    "RateLimitLimit": {"description": "The quota.", "schema": _COUNT},
    "RateLimitRemaining": {"description": "Requests left.", "schema": _COUNT},
    "RateLimitReset": {
        "description": "Seconds until the whole quota is there again.",
        "schema": _COUNT,
    },
    "RetryAfter": {"description": "Seconds to wait.", "schema": _COUNT},
    "Location": {
        "description": "Where what was made is: a path on this bank, to be resolved against the "
        "address of the request as RFC 9110 says. What has no address of its own is told of at the "
        "nearest one that can be read.",
        "required": True,
        "schema": {**_STRING, "format": "uri-reference"},
    },
    "Authenticate": {"description": "How to sign in.", "schema": _STRING},
}
LIMIT_HEADERS: Final[Document] = {
    name: {"$ref": f"#/components/headers/{kept}"}
    for name, kept in {
        "RateLimit": "RateLimit",
        "RateLimit-Policy": "RateLimitPolicy",
        "X-RateLimit-Limit": "RateLimitLimit",
        "X-RateLimit-Remaining": "RateLimitRemaining",
        "X-RateLimit-Reset": "RateLimitReset",
    }.items()
}
HEADERS_OF: Final[Mapping[int, Document]] = {
    401: {"WWW-Authenticate": {"$ref": "#/components/headers/Authenticate"}},
    429: {"Retry-After": {"$ref": "#/components/headers/RetryAfter"}, **LIMIT_HEADERS},
    503: {"Retry-After": {"$ref": "#/components/headers/RetryAfter"}},
}
STATUSES: Final[Mapping[int, str]] = {
    400: "The request cannot be read or carried out as it stands.",
    401: "No valid access token.",
    403: "Not allowed.",
    404: "It does not exist, or it is not yours.",
    408: "The body did not arrive in time.",
    409: "The present state does not allow it.",
    413: "The body is too large.",
    415: "The body has another media type.",
    422: "Fields break their rules; `errors` names them.",
    429: "Too many requests.",
    500: "A fault of ours.",
    503: "The service cannot answer now.",
}
