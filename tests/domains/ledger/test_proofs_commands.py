"""A planted defect in the rules is caught before anything is written, on either engine."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from guilder.domains.ledger import engine
from guilder.domains.ledger.engine import InvariantViolated, run_sync
from guilder.domains.ledger.rules.decide import decide
from guilder.domains.ledger.rules.state import Decision
from tests.domains.ledger.branch import Branch
from tests.domains.ledger.desk import pay
from tests.support.books import problems, read_books


def another_amount(decision: Decision) -> None:
    account, number, delta, after, version, value_on = decision.entries[1]
    decision.entries[1] = (account, number, delta + 1, after + 1, version, value_on)


def another_transfer(decision: Decision) -> None:
    account, number, *rest = decision.entries[0]
    decision.entries[0] = (account, number + 1, *rest)  # type: ignore[assignment] # as broken


def another_asset(decision: Decision) -> None:
    decision.changed_accounts[decision.entries[1][0]].asset = "EUR"


def another_assets_debit(decision: Decision) -> None:
    decision.changed_accounts[decision.entries[0][0]].asset = "EUR"


def a_version_too_many(decision: Decision) -> None:
    next(iter(decision.changed_accounts.values())).version += 1


DEFECTS: list[tuple[Callable[[Decision], object], str]] = [
    (lambda decision: decision.results[0].results.pop(), "a result for every posting"),
    (lambda decision: decision.entries.pop(), "two entries a transfer"),
    (lambda decision: setattr(decision, "last_no", decision.last_no + 1), "numbers without gaps"),
    (lambda decision: decision.transfers.pop(), "two entries a transfer"),
    (a_version_too_many, "versions without gaps"),
    (another_amount, "debits equal credits"),
    (another_transfer, "debits equal credits"),
    (another_asset, "debits equal credits"),
    (another_assets_debit, "debits equal credits"),
    (lambda decision: setattr(decision, "clock_us", 0), "a clock that moves on"),
]


@pytest.mark.parametrize(
    ("defect", "promise"), DEFECTS, ids=[f"{i}-{promise}" for i, (_, promise) in enumerate(DEFECTS)]
)
async def test_a_defect_is_caught_before_anything_is_written(
    branch: Branch,
    monkeypatch: pytest.MonkeyPatch,
    defect: Callable[[Decision], object],
    promise: str,
) -> None:
    alice = await branch.open(100)
    before = await read_books(branch.url)

    def broken(*asked: Any) -> Decision:
        decision = decide(*asked)
        defect(decision)
        return decision

    monkeypatch.setattr(engine, "decide", broken)
    with pytest.raises(InvariantViolated, match=f"proof failed: {promise}"):
        await branch.said(pay(branch.settlement, alice, 5), pay(branch.settlement, alice, 6))
    assert await read_books(branch.url) == before
    monkeypatch.undo()
    assert await branch.said(pay(branch.settlement, alice, 5)) == ["created"]
    assert problems(await read_books(branch.url)) == []


def test_work_that_suspends_cannot_be_driven_in_a_thread() -> None:
    class Never:
        def __await__(self) -> Any:
            yield

    async def suspends() -> None:
        await Never()

    with pytest.raises(RuntimeError, match="suspended"):
        run_sync(suspends())


def test_work_that_does_not_suspend_is_driven_to_its_value() -> None:
    async def adds() -> int:
        return 1 + 1

    assert run_sync(adds()) == 2


@pytest.mark.parametrize("amount", [0, -1, -5])
async def test_an_amount_that_is_not_above_zero_is_never_written(
    branch: Branch, amount: int
) -> None:
    alice = await branch.open(100)
    before = await read_books(branch.url)
    with pytest.raises(InvariantViolated, match="debits equal credits"):
        await branch.said(pay(branch.settlement, alice, amount))
    assert await read_books(branch.url) == before


async def test_a_transfer_that_refers_to_another_is_still_between_two_accounts(
    branch: Branch,
) -> None:
    alice = await branch.open(100)
    said = await branch.said(replace(pay(alice, alice, 5), ref=1))
    assert said == ["same_account"]
