"""What the dispatcher works out without a database: how long it rests, and who gets what."""

import pytest

from guilder.core.events import Delivery, Subscriber, on
from guilder.core.parts import Parts
from guilder.infra.process.dispatcher import DEFAULT_RETRY_POLICY, event_routes
from tests.infra.dispatch import Mailed, Office, Told


def test_rests_double_up_to_a_limit_and_differ() -> None:
    for attempt, middle in ((1, 5), (2, 10), (5, 80), (11, 3600), (20, 3600)):
        rests = [DEFAULT_RETRY_POLICY.backoff_seconds(attempt) for _ in range(50)]
        assert all(0.75 * middle <= rest <= 1.25 * middle for rest in rests)
        assert len(set(rests)) > 1


def test_a_name_has_one_subscriber_and_what_the_poster_writes_has_none(sqlite_url: str) -> None:
    async def react(_parts: Parts, _event: Told, _delivery: Delivery) -> None: ...

    one = Subscriber("one", on(Told, react), on(Mailed, react))
    two = Subscriber("two", on(Mailed, react))
    assert event_routes((one, two)) == {"test.told": ("one",), "test.mailed": ("one", "two")}
    with pytest.raises(ValueError, match="two subscribers are called one"):
        event_routes((one, two, one))
    with pytest.raises(ValueError, match=r"ledger\.batch_posted"):
        Office(sqlite_url, routes={"ledger.batch_posted": ("one",)})
