import pytest

from guilder.core.errors import (
    BadRequest,
    Conflict,
    FieldError,
    Forbidden,
    IdempotencyConflict,
    IdempotencyInProgress,
    Invalid,
    NotFound,
    OutcomeUnknown,
    Overloaded,
    RateLimited,
    Refusal,
    Unauthenticated,
    Unavailable,
)

CATEGORIES = (
    BadRequest, Invalid, Unauthenticated, Forbidden, NotFound, Conflict, RateLimited, Unavailable,
)  # fmt: skip


def test_there_are_eight_categories_and_each_code_is_its_own() -> None:
    assert set(Refusal.__subclasses__()) >= set(CATEGORIES)
    assert len({category.code for category in CATEGORIES}) == 8


@pytest.mark.parametrize("category", CATEGORIES)
def test_a_refusal_says_its_own_detail_unless_told_otherwise(category: type[Refusal]) -> None:
    assert category().detail == category.detail == str(category())
    assert category.detail.endswith(".")
    told = category("Another sentence.", extra={"limit": 5})
    assert (told.detail, str(told), told.extra) == (
        "Another sentence.", "Another sentence.", {"limit": 5},
    )  # fmt: skip
    assert category.detail != "Another sentence."
    assert category().extra == {}


def test_an_invalid_request_names_its_fields() -> None:
    field = FieldError("/amount", "too_small", "Must be at least 1.")
    refused = Invalid(fields=(field,))
    assert refused.fields == (field,)
    assert (field.where, field.code, field.message) == (
        "/amount", "too_small", "Must be at least 1.",
    )  # fmt: skip
    assert Invalid().fields == ()


@pytest.mark.parametrize(
    ("refusal", "category", "code"),
    [
        (IdempotencyConflict(), Invalid, "idempotency_conflict"),
        (IdempotencyInProgress(), Conflict, "idempotency_in_progress"),
        (Overloaded(), Unavailable, "overloaded"),
        (OutcomeUnknown(), Unavailable, "outcome_unknown"),
    ],
)
def test_a_shared_refusal_has_its_category_and_code(
    refusal: Refusal, category: type[Refusal], code: str
) -> None:
    assert isinstance(refusal, category)
    assert refusal.code == code


@pytest.mark.parametrize("refusal", [RateLimited, Unavailable, Overloaded, IdempotencyInProgress])
def test_a_refusal_says_when_to_come_again_when_that_can_help(refusal: type[Refusal]) -> None:
    assert refusal().retry_after_seconds == 1
    assert Unavailable(retry_after_seconds=7).retry_after_seconds == 7
    assert Unavailable.retry_after_seconds == 1


def test_a_refusal_has_no_time_to_come_again_when_that_cannot_help() -> None:
    assert NotFound().retry_after_seconds is None
    assert Refusal("No.", retry_after_seconds=0).retry_after_seconds == 0
