"""OAuth2 where tokens are given out or revoked: forms, and errors in its words.

A request that names a ``grant_type`` speaks OAuth2 and is refused as RFC 6749 says, with 400. Any
other has the statuses of the rest of the API. Both have the members of both.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qsl

from guilder.api.errors import DuplicateParameter, InvalidText, UnsupportedMediaType
from guilder.api.examples import problem_example
from guilder.api.exchange import Exchange
from guilder.api.json_gate import parse
from guilder.api.openapi import CODES, OTHERWISE, REF_TEMPLATE, refusals
from guilder.api.replies import Reply
from guilder.api.schema import RequestBody
from guilder.api.validation import read_body
from guilder.core.errors import BadRequest, Forbidden, Invalid, Refusal, Unauthenticated
from guilder.domains.identity.errors import UnsupportedGrantType

JSON_TYPE: Final = "application/json"
FORM_TYPE: Final = "application/x-www-form-urlencoded"
_MOST_FIELDS: Final = 20
_INVALID_REQUEST: Final = "invalid_request"
_ERRORS: Final[Mapping[type[Refusal], str]] = {
    Unauthenticated: "invalid_grant",
    Forbidden: "invalid_grant",
    UnsupportedGrantType: UnsupportedGrantType.code,
    Invalid: _INVALID_REQUEST,
    BadRequest: _INVALID_REQUEST,
}
"""The codes of RFC 6749, section 5.2, by the nearest class; what is missing has none."""


def json_or_form(model: type[RequestBody]) -> dict[str, Any]:
    """The OpenAPI of a body that may be JSON or a form."""
    schema = model.model_json_schema(ref_template=REF_TEMPLATE)
    return _bodies(schema, schema)


def json_or_oauth_form(model: type[RequestBody]) -> dict[str, Any]:
    """The same where a form may have fields that nobody knows, and empty ones."""
    schema = model.model_json_schema(ref_template=REF_TEMPLATE)
    form = {**schema, "title": schema["title"] + "Form", "additionalProperties": True}
    return _bodies(schema, form)


def _bodies(schema: dict[str, Any], form: dict[str, Any]) -> dict[str, Any]:
    content = {JSON_TYPE: {"schema": schema}, FORM_TYPE: {"schema": form}}
    return {"requestBody": {"required": True, "content": content}}


async def read_json_or_form[M: RequestBody](exchange: Exchange, model: type[M]) -> M:
    """The body as JSON or a form. Raises ``UnsupportedMediaType`` for any other."""
    return read_body(model, (await _read(exchange))[0])


async def _read(exchange: Exchange) -> tuple[Any, bool]:
    """The fields of a JSON body or a form, and whether it was a form."""
    body = await exchange.read_body()
    kind = (exchange.header(b"content-type") or "").partition(";")[0].strip().lower()
    if kind not in {JSON_TYPE, FORM_TYPE}:
        raise UnsupportedMediaType.expecting(JSON_TYPE, FORM_TYPE)
    return (_form(body), True) if kind == FORM_TYPE else (parse(body), False)


def _form(body: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, max_num_fields=_MOST_FIELDS,
            errors="strict",
        )  # fmt: skip
    except UnicodeError:
        raise InvalidText() from None
    except ValueError:
        raise BadRequest("The form has too many fields.") from None
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise DuplicateParameter()
    if any("\0" in value for value in fields.values()):
        raise InvalidText()
    return fields


async def answer_oauth[M: RequestBody](
    exchange: Exchange,
    model: type[M],
    answer: Callable[[M, bool], Awaitable[Reply]],
    grants: Sequence[str] | None = None,
) -> Reply:
    """What ``answer`` makes of the body, told whether it names a grant; or a problem in OAuth2.

    Of a form, what is empty counts as left out and what is unknown is ignored (RFC 6749, section
    3.2). ``grants`` None takes no grant.
    """
    named = False
    try:
        fields, is_form = await _read(exchange)
        if is_form:
            known = {field.alias or name for name, field in model.model_fields.items()}
            fields = {name: text for name, text in fields.items() if text and name in known}
        if grants is not None and isinstance(fields, dict):
            named = fields.get("grant_type") is not None
            if named and fields["grant_type"] not in grants:
                return _refused(UnsupportedGrantType(), exchange, strictly=True)
        return await answer(read_body(model, fields), named)
    except Refusal as refusal:
        return _refused(refusal, exchange, strictly=named or grants is None)


def _refused(refusal: Refusal, exchange: Exchange, *, strictly: bool) -> Reply:
    kind = type(refusal)
    if (error := _error_of(kind)) is not None:
        refusal.extra = {
            **refusal.extra, "error": error, "error_description": refusal.detail
        }  # fmt: skip
    status = 400 if strictly and _becomes_400(kind) else None
    return exchange.problem(refusal, status=status)


def _error_of(kind: type[Refusal]) -> str | None:
    return next((_ERRORS[base] for base in kind.__mro__ if base in _ERRORS), None)


def _becomes_400(kind: type[Refusal]) -> bool:
    """Whether OAuth2 has 400 for what the rest of the API has another status for."""
    return issubclass(kind, Unauthenticated | Forbidden | Invalid)


def oauth_refusals(
    *kinds: type[Refusal], takes_grants: bool = True
) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of a route that may refuse so: in either way, or always as OAuth2 does."""
    turned = [kind for kind in kinds if _becomes_400(kind)]
    found = refusals(*(kind for kind in kinds if takes_grants or kind not in turned), BadRequest)
    for response in found.values():
        for kind in kinds:
            if kind.code in response[CODES]:
                response[CODES][kind.code] |= _members(kind)
    found[400][OTHERWISE] = {
        kind.code: problem_example(kind, 400) | _members(kind) for kind in turned
    }
    if takes_grants:
        codes = ", ".join(f"`{kind.code}`" for kind in turned)
        found[400]["description"] += f"\n\nWith a `grant_type` also: {codes}."
    else:
        found[400]["description"] += "".join(f"\n\n`{one.code}`: {one.detail}" for one in turned)
    return found


def _members(kind: type[Refusal]) -> dict[str, Any]:
    error = _error_of(kind)
    return {} if error is None else {"error": error, "error_description": kind.detail}
