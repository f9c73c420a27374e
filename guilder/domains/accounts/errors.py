"""What accounts refuse beside the ledger's own refusals."""

from guilder.core.errors import FieldError, Invalid, Place


class CurrencyNotOffered(Invalid):
    """The product is not offered in this currency."""

    code = "currency_not_offered"
    detail = "The product is not offered in this currency."


class MonthBeforeOpening(Invalid):
    """A statement of a month in which the account was not open yet."""

    code = "month_before_opening"
    detail = "The account was not open in this month."


class MonthInFuture(Invalid):
    """A statement of a month that has not begun."""

    code = "month_in_future"
    detail = "This month has not begun."


def at(where: str, kind: type[Invalid], place: Place = Place.BODY) -> Invalid:
    """A refusal that names the field it is about."""
    return kind(fields=(FieldError(where, kind.code, kind.detail, place),))
