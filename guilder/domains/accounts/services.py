"""Facts of accounts that never change, kept where the hot routes find them."""

from collections.abc import Iterable
from typing import Final
from uuid import UUID

from guilder.core.actor import SYSTEM, Actor
from guilder.core.ownership import owns
from guilder.db.run import Runner
from guilder.domains.accounts import repository
from guilder.domains.accounts.queries import (
    AccountRef,
    Counterparty,
    bank_fact,
    counterparties,
    names_of,
    other_side,
    payer_of,
)
from guilder.domains.accounts.repository import AccountRow
from guilder.domains.accounts.rules import is_account_number
from guilder.domains.ledger.commands import ContinueBankAccount, continue_bank_account
from guilder.domains.ledger.queries import LineRow

_ID_LENGTH: Final = 36


class AccountDirectory:
    """Finds accounts by id or by account number without a query once they have been seen.

    Only immutable facts are kept, so no process can be behind another; what is not known here is
    looked up, for all names of a request in one query. The oldest entries go when it is full.
    """

    def __init__(self, runner: Runner, capacity: int = 100_000) -> None:
        self._runner = runner
        self._capacity = capacity
        self._facts: dict[str, AccountRef] = {}

    def known(self, name: str) -> AccountRef | None:
        """The account of an id (canonical text) or an account number, if seen before."""
        return self._facts.get(name)

    async def resolve(self, names: Iterable[str]) -> dict[str, AccountRef]:
        """The accounts of ids and account numbers; names without an account are absent."""
        facts = self._facts
        found: dict[str, AccountRef] = {}
        missing = []
        for name in names:
            fact = facts.get(name)
            if fact is None:
                missing.append(name)
            else:
                found[name] = fact
        if missing:
            loaded = await self._load(missing)
            found.update(loaded)
            facts.update(loaded)
            while len(facts) > self._capacity:
                del facts[next(iter(facts))]
        return found

    async def bank(self, asset: str, role: str) -> AccountRef:
        """One of the bank's own accounts, by its role in the chart; it has no owner.

        It may be full, and go on in another: see ``next_bank``.
        """
        code = f"{asset}.{role}"
        fact = self._facts.get(code)
        if fact is None:
            fact = await self._runner.view(bank_fact, asset, role)
            self._facts[code] = fact
        return fact

    async def next_bank(self, asset: str, role: str) -> AccountRef:
        """The account in which one of the bank's own goes on, or the same while it has room."""
        await self._runner.run(continue_bank_account, ContinueBankAccount(asset, role), SYSTEM)
        self._facts.pop(f"{asset}.{role}", None)
        return await self.bank(asset, role)

    async def payer(self, transfer: int) -> str:
        """The id of the account that a transfer was debited to, whatever it was."""
        return await self._runner.read(payer_of, transfer)

    async def _load(self, names: list[str]) -> dict[str, AccountRef]:
        numbers = {name for name in names if is_account_number(name)}
        ids = {UUID(name) for name in names if len(name) == _ID_LENGTH}
        if not numbers and not ids:
            return {}
        by_id, by_number = await self._runner.read(repository.facts_by_name, ids, numbers)
        found = {str(row.id): _ref(row) for row in by_id.values()}
        return found | {number: _ref(row) for number, row in by_number.items()}


class Counterparties:
    """Tells who is on the other side of lines, without a query once they have been seen.

    Only facts that never change are kept, as in the directory; an owner's own names are looked up.
    """

    def __init__(self, runner: Runner, capacity: int = 100_000) -> None:
        self._runner = runner
        self._capacity = capacity
        self._known: dict[int, Counterparty] = {}

    async def of(self, actor: Actor, lines: Iterable[LineRow]) -> dict[int, Counterparty]:
        """The other sides of some lines as the actor may see them, by ledger number."""
        numbers, known = set(map(other_side, lines)), self._known
        found = {number: known[number] for number in numbers if number in known}
        if unknown := numbers.difference(found):
            loaded = await self._runner.read(counterparties, unknown)
            found.update(loaded)  # not from what is known: others have made room meanwhile
            known.update(loaded)
        own = [number for number, one in found.items() if owns(actor, one.owner)]
        if own:
            for number, name in (await self._runner.read(names_of, own)).items():
                if name != found[number].name:
                    found[number] = found[number]._replace(name=name)
        while len(known) > self._capacity:
            del known[next(iter(known))]
        return found


def _ref(row: AccountRow) -> AccountRef:
    return AccountRef(
        str(row.id), row.ledger_number, row.owner_user_id, row.currency, row.account_number
    )
