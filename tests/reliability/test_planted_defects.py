"""The tests of the tests: with a defect planted, the very same checks must fail."""

import pytest

from tests.reliability.checks import Storm, check_bank, check_killed_workers, check_storm
from tests.support.sizes import sqlite_in_ci
from tests.support.workers import Crew

HEAVY = [
    pytest.param(defect, marks=pytest.mark.heavy)
    for defect in ("no_lock", "no_lock_no_compare", "no_transaction", "no_chain")
]


@sqlite_in_ci
@pytest.mark.parametrize("defect", ["stale_balances", *HEAVY])
async def test_the_bank_test_is_red_with(database_url: str, crew: Crew, defect: str) -> None:
    with pytest.raises(AssertionError) as found:
        await check_bank(database_url, crew, 300, defect)
    print(defect, "is seen as:", str(found.value).split("\n", 2)[:2])


@pytest.mark.heavy
@pytest.mark.parametrize("defect", ["late_key", "early_answer"])
async def test_the_kill_test_is_red_with(database_url: str, crew: Crew, defect: str) -> None:
    with pytest.raises(AssertionError) as found:
        await check_killed_workers(database_url, crew, 5, defect=defect, workers=1)
    print(defect, "is seen as:", str(found.value).split("\n", 2)[:2])


@pytest.mark.heavy
async def test_the_storm_is_red_with_keys_in_another_transaction(
    database_url: str, crew: Crew
) -> None:
    with pytest.raises(AssertionError) as found:
        await check_storm(database_url, crew, Storm(200), "late_key")
    print("late_key", "is seen as:", str(found.value).split("\n", 2)[:2])
