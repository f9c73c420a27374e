"""The refusals: eight categories, each refusal a class with a stable ``code``.

Inside pure rules a refusal travels as ``Err(refusal)``; from a command outward the same object is
raised. ``api/problems.py`` holds the only table from category to HTTP status.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import ClassVar


class Refusal(Exception):
    """Base of everything a caller can be refused with; never carries the offending value.

    ``code`` is stable and documented, ``detail`` one sentence for people, ``extra`` facts the
    client may act on (a limit, its use), ``retry_after_seconds`` when trying again can help.
    ``extra_example`` shows the reference what facts there may be. ``wrong_guess`` marks that a
    password or another proof was not good: an address has few of them.
    """

    code: ClassVar[str] = "refused"
    extra_example: ClassVar[Mapping[str, object]] = MappingProxyType({})
    wrong_guess: ClassVar[bool] = False
    detail: str = "The request was refused."
    retry_after_seconds: int | None = None

    def __init__(
        self,
        detail: str | None = None,
        *,
        extra: Mapping[str, object] | None = None,
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(detail or self.detail)
        if detail is not None:
            self.detail = detail
        if retry_after_seconds is not None:
            self.retry_after_seconds = retry_after_seconds
        self.extra: Mapping[str, object] = extra or {}


class BadRequest(Refusal):
    """The request cannot be read, or cannot be carried out as it stands."""

    code = "bad_request"


class InvalidCursor(BadRequest):
    """The cursor was not given to this caller, by this list, for these filters."""

    code = "invalid_cursor"
    detail = (
        "The cursor is not from this list with these filters. Repeat the filters of the page "
        "before, or start again without a cursor."
    )


class Invalid(Refusal):
    """A field breaks its rule; ``fields`` name each by its place."""

    code = "validation_failed"
    detail = "The request has fields that break their rules."

    def __init__(
        self,
        detail: str | None = None,
        *,
        fields: tuple["FieldError", ...] = (),
        extra: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(detail, extra=extra)
        self.fields = fields


class Unauthenticated(Refusal):
    """The caller has not proved who they are."""

    code = "unauthenticated"
    detail = "A valid access token is required."


class Forbidden(Refusal):
    """The caller is known and may not do this."""

    code = "forbidden"
    detail = "You may not do this."


class StepUpRequired(Forbidden):
    """The caller has not proved lately that it is still them."""

    code = "step_up_required"
    detail = "Prove again that it is you: POST /sessions/current/step-ups."


class SecondFactorDemanded(Forbidden):
    """The caller's role demands that they sign in with two factors, and this session has one."""

    code = "second_factor_demanded"
    detail = (
        "Administrators of this bank prove a second factor. Step up with yours: POST "
        "/sessions/current/step-ups. If you have none, set up an authenticator app or a passkey; "
        "after a removal by letter, let another administrator remove your factors first."
    )


class NotFound(Refusal):
    """It does not exist, or it is not the caller's to see."""

    code = "not_found"
    detail = "There is no such resource."


class Conflict(Refusal):
    """The present state does not allow it."""

    code = "conflict"


class RateLimited(Refusal):
    """The caller asks more often than allowed."""

    code = "rate_limited"
    detail = "Too many requests."
    retry_after_seconds = 1


class Unavailable(Refusal):
    """The service cannot answer now; the same request may succeed later."""

    code = "unavailable"
    detail = "The service cannot answer now. Try again shortly."
    retry_after_seconds = 1


class Place(StrEnum):
    """Where a field is; the value is the member of a problem that tells where in it."""

    BODY = "pointer"
    QUERY = "parameter"
    HEADER = "header"


def cause_of(error: BaseException) -> str:
    """Why somebody was refused, for the log: what was raised first of all, in one line.

    An error of a database says more in its ``orig``, and never what was stored.
    """
    while error.__cause__ is not None:
        error = error.__cause__
    error = getattr(error, "orig", None) or error
    text = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


class FieldError:
    """One broken field: ``where`` it is, a short stable ``code`` and a ``message``.

    ``where`` is an RFC 6901 pointer into the body, or the name of a parameter or header.
    """

    __slots__ = ("code", "message", "place", "where")

    def __init__(self, where: str, code: str, message: str, place: Place = Place.BODY) -> None:
        self.where = where
        self.code = code
        self.message = message
        self.place = place


class IdempotencyConflict(Invalid):
    """The key was used before with a different request."""

    code = "idempotency_conflict"
    detail = "This idempotency key was used with a different request."


class IdempotencyInProgress(Conflict):
    """A request with the same key is running now."""

    code = "idempotency_in_progress"
    detail = "A request with this idempotency key is still running."
    retry_after_seconds = 1


class Overloaded(Unavailable):
    """The queue is full; nothing was taken in."""

    code = "overloaded"
    detail = "The service is busy. Nothing was done; try again shortly."


class OutcomeUnknown(Unavailable):
    """The connection was lost while committing and the outcome could not be learned in time."""

    code = "outcome_unknown"
    detail = "The outcome is not known. Repeat the request with the same idempotency key."
