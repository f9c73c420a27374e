"""Windows of limits: calendar periods in UTC, counted by the booking date."""

from typing import Final

from guilder.core.clock import day_date, day_number, day_of
from guilder.core.money import MAX_AMOUNT
from guilder.domains.ledger.rules.state import Limit

PERIODS: Final = ("transaction", "day", "week", "month")


def window_start(period: str, at_us: int) -> int:
    """Day number on which the window of ``period`` around an instant began.

    Weeks begin on Monday (ISO 8601). ``transaction`` bounds each posting by itself.
    """
    day = day_of(at_us)
    if period in ("transaction", "day"):
        return day
    on = day_date(day)
    if period == "week":
        return day - on.weekday()
    if period == "month":
        return day_number(on.replace(day=1))
    raise ValueError(f"no such period: {period}")


def used(limit: Limit, at_us: int) -> tuple[int, int]:
    """Amount and count used in the window around ``at_us``; zero in a window not yet begun."""
    if limit.period == "transaction" or limit.window_start != window_start(limit.period, at_us):
        return 0, 0
    return limit.used_amount, limit.used_count


def exceeded(limit: Limit, amount: int, at_us: int) -> dict[str, object] | None:
    """The facts of a breach (period, limit, used, remaining), or None when it fits."""
    used_amount, used_count = used(limit, at_us)
    if limit.max_amount is not None and used_amount + amount > limit.max_amount:
        return _facts(limit.period, "amount", limit.max_amount, used_amount)
    if limit.max_count is not None and used_count + 1 > limit.max_count:
        return _facts(limit.period, "count", limit.max_count, used_count)
    return None


def use(limit: Limit, amount: int, at_us: int) -> None:
    """Count one posting in its window, beginning the window anew when it has passed."""
    used_amount, used_count = used(limit, at_us)
    limit.window_start = window_start(limit.period, at_us)
    limit.used_amount = min(used_amount + amount, MAX_AMOUNT)  # holds given back stay counted
    limit.used_count = used_count + 1


def _facts(period: str, measure: str, limit: int, used_now: int) -> dict[str, object]:
    return {
        "period": period,
        "measure": measure,
        "limit": limit,
        "used": used_now,
        "remaining": max(0, limit - used_now),
    }
