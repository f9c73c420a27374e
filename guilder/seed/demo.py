"""The demo bank: a handful of people and three months of their lives, booked when they happened.

Everything is drawn from a fixed seed and posted under keys of its own, so that a second run, or
one after a run that was cut off, adds only what is missing.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Final

from guilder.bootstrap import Bank, ledger_store
from guilder.core.actor import SYSTEM, Actor
from guilder.core.clock import DAY_US, SECOND_US, FixedClock, day_date, day_of, day_start
from guilder.core.permissions import Role
from guilder.db.idempotency import digest
from guilder.db.run import Runner
from guilder.db.unit_of_work import View
from guilder.domains.accounts.commands import OpenAccount, open_account
from guilder.domains.accounts.queries import numbers_of
from guilder.domains.accounts.rules import EXAMPLE_PAYEE, EXAMPLE_PAYER
from guilder.domains.identity.commands.users import CreateUser, create_user
from guilder.domains.identity.queries import user_by_email
from guilder.domains.identity.rules.users import User
from guilder.domains.ledger.ports import Store
from guilder.domains.ledger.queries import bank_account, bank_now
from guilder.domains.ledger.rules.state import Posting, Unit
from guilder.seed.people import BILLS, FAVOURS, PASSWORD, PEOPLE, SHOPS, Person

HISTORY_DAYS: Final = 92
KNOWN_IDS: Final = {PEOPLE[0].key: EXAMPLE_PAYER, PEOPLE[1].key: EXAMPLE_PAYEE}
"""The checking accounts of the first two: the reference's example of a transfer works."""
_HOUR_US: Final = 3600 * SECOND_US

type DemoProgress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Customer:
    """A person of the demo with the ledger numbers of the two accounts."""

    person: Person
    user: User
    checking: int
    savings: int


@dataclass(frozen=True, slots=True)
class Happening:
    """One movement of the demo's past, at an instant."""

    at_us: int
    posting: Posting


async def seed_demo(bank: Bank, progress: DemoProgress | None = None) -> bool:
    """Make the demo bank where it is not complete; tells whether anything was added."""
    clock = FixedClock(await _first_day(bank))
    runner = Runner(bank.database, clock, signer=bank.runner.signer)
    store = ledger_store(bank.database, clock)
    try:
        before = await bank.runner.view(user_by_email, PEOPLE[-1].email)
        password_hash = "" if before else await bank.passwords.hash(PASSWORD)
        customers = [await _customer(runner, person, password_hash) for person in PEOPLE]
        booked = await _live(bank, store, clock, customers, progress or (lambda _a, _b: None))
    finally:
        await store.close()
    return booked


async def _first_day(bank: Bank) -> int:
    """Midnight three months ago, or the day on which the first customer was made."""
    first = await bank.runner.view(user_by_email, PEOPLE[0].email)
    if first is not None:
        return day_start(day_of(first.created_at))
    return day_start(day_of(await bank.runner.view(bank_now)) - HISTORY_DAYS)


async def _customer(runner: Runner, person: Person, password_hash: str) -> Customer:
    user = await runner.view(user_by_email, person.email)
    if user is None:
        made = CreateUser(person.email, password_hash, person.name, email_verified=True)
        user = await runner.run(create_user, made, SYSTEM)
    actor = Actor(user.id, Role.USER)
    numbers = sorted(await runner.view(numbers_of, actor))
    wanted = (
        OpenAccount("checking", person.currency, "Everyday", KNOWN_IDS.get(person.key)),
        OpenAccount("savings", person.currency, "Rainy day"),
    )
    for missing in wanted[len(numbers) :]:
        await runner.run(open_account, missing, actor)
    checking, savings = sorted(await runner.view(numbers_of, actor))[:2]
    return Customer(person, user, checking, savings)


async def _live(
    bank: Bank, store: Store, clock: FixedClock, customers: list[Customer], progress: DemoProgress
) -> bool:
    currencies = sorted({c.person.currency for c in customers})
    settlement = await bank.runner.view(_settlement, currencies)
    past = list(_past(clock.at_us, customers, settlement))
    last = Unit([past[-1].posting], dry_run=True)
    if (await store.commit([last]))[0].results[0].status == "replayed":
        return False
    for done, happening in enumerate(past, 1):
        clock.at_us = happening.at_us
        outcome = await store.commit([Unit([happening.posting])])
        outcome[0].results[0].raise_refused()
        progress(done, len(past))
    return True


async def _settlement(view: View, currencies: list[str]) -> dict[str, int]:
    numbers = {code: await bank_account(view, code, "settlement") for code in currencies}
    return {code: number for code, number in numbers.items() if number is not None}


def _past(first_us: int, customers: list[Customer], settlement: dict[str, int]) -> list[Happening]:
    """Everything that happened, in order of time."""
    found: list[Happening] = []
    for customer in customers:
        outside = settlement[customer.person.currency]
        found += _opening(first_us, customer, outside)
        for day in range(1, HISTORY_DAYS):
            start = first_us + day * DAY_US
            found += _regular(start, customer, outside)
            found += _shopping(start, customer, outside)
            found += _favours(start, customer, customers)
    return sorted(found, key=lambda happening: happening.at_us)


def _opening(start: int, c: Customer, outside: int) -> Iterator[Happening]:
    yield _at(start, 9, c, outside, c.checking, c.person.salary, "Opening balance")
    yield _at(start, 10, c, outside, c.savings, 2 * c.person.salary, "Transfer from old bank")


def _regular(start: int, c: Customer, outside: int) -> Iterator[Happening]:
    on: date = day_date(day_of(start))
    person = c.person
    if on.day == 25:
        month = on.strftime("%Y-%m")
        yield _at(start, 6, c, outside, c.checking, person.salary, f"Salary {person.employer}",
                  f"SAL-{month}")  # fmt: skip
        yield _at(start, 20, c, c.checking, c.savings, person.salary // 10, "Monthly saving")
    if on.day == 1:
        yield _at(start, 8, c, c.checking, outside, person.rent, "Rent Canal Homes")
    for day, name, cents in BILLS:
        if on.day == day:
            yield _at(start, 7, c, c.checking, outside, person.local(cents), name)


def _shopping(start: int, c: Customer, outside: int) -> Iterator[Happening]:
    chance = random.Random(f"{c.person.key} shops {start % (400 * DAY_US)}")  # noqa: S311 - a story
    for _ in range(chance.choice((0, 0, 1, 1, 2))):
        shop, least, most = chance.choice(SHOPS)
        amount = c.person.local(chance.randint(least, most))
        yield _at(start, chance.randint(8, 19), c, c.checking, outside, amount, shop)


def _favours(start: int, c: Customer, customers: list[Customer]) -> Iterator[Happening]:
    chance = random.Random(f"{c.person.key} favours {start % (400 * DAY_US)}")  # noqa: S311 - a story
    friends = [
        other for other in customers
        if other is not c and other.person.currency == c.person.currency
    ]  # fmt: skip
    if friends and chance.random() < 0.08:
        friend, what = chance.choice(friends), chance.choice(FAVOURS)
        cents = chance.randint(8, 60) * 100
        yield _at(start, chance.randint(18, 22), c, c.checking, friend.checking, cents, what)


def _at(
    start: int,
    hour: int,
    c: Customer,
    debit: int,
    credit: int,
    amount: int,
    description: str,
    reference: str | None = None,
) -> Happening:
    """A happening within the hour, under a key made of all that tells it from others."""
    minute = random.Random(f"{c.person.key} {start} {hour} {description}").randrange(3600)  # noqa: S311 - a story
    at_us = start + hour * _HOUR_US + minute * SECOND_US
    key = digest("demo", c.person.key, str(at_us), description)
    posting = Posting(
        debit, credit, amount, c.person.currency, key=key, fingerprint=key,
        created_by=c.user.id, description=description, reference=reference,
    )  # fmt: skip
    return Happening(at_us, posting)
