"""Refusals of the plumbing itself: what is wrong with a request before any domain sees it."""

from collections.abc import Iterable
from types import MappingProxyType
from typing import Self

from guilder.core.errors import BadRequest, Refusal


class MalformedJson(BadRequest):
    """The body is no JSON document."""

    code = "malformed_json"
    detail = "The body is not a JSON document."
    extra_example = MappingProxyType({"position": {"line": 1, "column": 17}})


class DuplicateKey(BadRequest):
    """An object of the body names a member twice."""

    code = "duplicate_key"
    detail = "An object in the body has the same key twice."
    extra_example = MappingProxyType({"key": "amount", "position": {"line": 1, "column": 40}})


class JsonTooDeep(BadRequest):
    """The body is nested deeper than allowed."""

    code = "json_too_deep"
    detail = "The body is nested too deeply."


class TooManyValues(BadRequest):
    """The body holds more values than a sound one of its operation can."""

    code = "too_many_values"
    detail = "The body has more members and items than this operation takes."


class InvalidText(BadRequest):
    """A text holds what no Unicode text may hold, or a NUL."""

    code = "invalid_text"
    detail = "Texts must be Unicode without NUL and without lone surrogates."


class NumberOutOfRange(BadRequest):
    """A number of the body is too large for any reader."""

    code = "number_out_of_range"
    detail = "A number in the body is out of range."


class UnknownParameter(BadRequest):
    """The operation has no query parameter of this name."""

    code = "unknown_parameter"
    detail = "The query has a parameter that this operation does not know."
    extra_example = MappingProxyType({"parameter": "page", "known": ["cursor", "limit", "offset"]})


class DuplicateParameter(BadRequest):
    """The query, or a form, names a parameter twice."""

    code = "duplicate_parameter"
    detail = "A parameter was sent more than once."
    extra_example = MappingProxyType({"parameter": "limit"})


class DuplicateHeader(BadRequest):
    """A header that may stand once stands twice."""

    code = "duplicate_header"
    detail = "A header that is allowed once was sent more than once."
    extra_example = MappingProxyType({"header": "Idempotency-Key"})


class MethodNotAllowed(BadRequest):
    """The path exists, but not with this method; ``allow`` names those it has."""

    code = "method_not_allowed"
    detail = "This method is not available here."

    def __init__(self, allow: Iterable[str] = ()) -> None:
        super().__init__()
        self.allow = ", ".join(sorted(allow))


class BodyTooSlow(BadRequest):
    """The body did not arrive in time."""

    code = "request_timeout"
    detail = "The body did not arrive in time."


class BodyTooLarge(BadRequest):
    """The body is larger than this operation takes."""

    code = "body_too_large"
    detail = "The body is larger than allowed."


class UnsupportedContentEncoding(BadRequest):
    """The body is compressed, or encoded otherwise, which no operation reads."""

    code = "unsupported_content_encoding"
    detail = "Send the body as it is, without a Content-Encoding."


class UnsupportedMediaType(BadRequest):
    """The body is of a type that this operation does not read."""

    code = "unsupported_media_type"
    detail = "The body must be application/json."

    @classmethod
    def expecting(cls, *types: str) -> Self:
        """The same where the operation reads these types."""
        return cls(f"The body must be {' or '.join(types)}.")


class InternalError(Refusal):
    """A defect of Guilder; its log tells more."""

    code = "internal_error"
    detail = "Something went wrong on our side. The request id finds it in the log."
