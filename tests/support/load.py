"""What a client does: named operations drawn from a seed, repeated until they are answered.

Everything a client does follows from seed, name and number, so a client that was killed is run
again from its last answer and repeats, under the same names, whatever was on its way.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from guilder.core.errors import Unavailable
from guilder.domains.ledger.rules.state import Kind, Posting, Unit, UnitResult
from tests.support.bank import ASSET, Bank, Reply, named, reply_of

EXPECTED_REFUSALS = {"insufficient_funds", "account_frozen", "limit_exceeded", "group_failed"}
"""What the state of the books may refuse. Anything else is a wrong answer."""

type Submit = Callable[[Unit], Awaitable[UnitResult]]


@dataclass
class Told:
    """What clients were told besides results."""

    troubles: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    accepted: int = 0

    def wrong(self) -> set[str]:
        """Refusals that no state of the books explains."""
        return set(self.refusals) - EXPECTED_REFUSALS


class Client:
    """One caller; ``say`` is told every reply at the moment it arrives."""

    def __init__(
        self,
        bank: Bank,
        submit: Submit,
        say: Callable[[Reply], None],
        told: Told,
        stop: Callable[[], bool],
    ) -> None:
        self.bank = bank
        self.submit = submit
        self.say = say
        self.told = told
        self.stop = stop

    async def operation(self, seed: int, name: str, mix: str) -> None:
        """One operation, which may take two calls."""
        draw = random.Random(f"{seed} {name}")
        if mix == "plain":
            await self.call(named(name, [self._transfer(draw)]), name)
        elif mix in ("forth", "back"):
            await self.call(named(name, [self._opposed(draw, mix == "back")]), name)
        else:
            await self._anything(draw, name)

    async def _anything(self, draw: random.Random, name: str) -> None:
        what = draw.random()
        if what < 0.6:
            await self.call(named(name, [self._transfer(draw)]), name)
        elif what < 0.75:
            legs = [self._transfer(draw) for _ in range(draw.randint(2, 4))]
            await self.call(named(name, legs, atomic=draw.random() < 0.6), name)
        elif what < 0.9:
            await self._held(draw, name)
        else:
            first = await self.call(named(name, [self._transfer(draw)]), name)
            if first is not None and first.accepted:
                back = Posting(0, 0, 0, "", Kind.REVERSAL, ref=first.rows[0][1])
                await self.call(named(f"{name}-back", [back]), f"{name}-back")

    async def _held(self, draw: random.Random, name: str) -> None:
        held = await self.call(named(name, [self._transfer(draw, Kind.HOLD)]), name)
        if held is None or not held.accepted:
            return
        number, amount = held.rows[0][1], held.rows[0][3]
        kind = draw.choice([Kind.CAPTURE, Kind.CAPTURE_FINAL, Kind.RELEASE])
        part = draw.randint(1, amount) if kind != Kind.RELEASE else 0
        spent = await self.call(
            named(f"{name}-spent", [Posting(0, 0, part, "", kind, ref=number)]), f"{name}-spent"
        )
        if spent is not None and spent.accepted and kind == Kind.CAPTURE and part < amount:
            rest = Posting(0, 0, 0, "", Kind.RELEASE, ref=number)
            await self.call(named(f"{name}-rest", [rest]), f"{name}-rest")

    def _transfer(self, draw: random.Random, kind: int = Kind.TRANSFER) -> Posting:
        """Half of all transfers run between the first two customers: the hot pair."""
        hot = draw.random() < 0.5
        debit, credit = draw.sample(self.bank.customers[:2] if hot else self.bank.customers, 2)
        return Posting(debit, credit, draw.randint(1, 20_000), ASSET, kind)

    def _opposed(self, draw: random.Random, back: bool) -> Posting:
        one, other = self.bank.customers[:2]
        debit, credit = (other, one) if back else (one, other)
        return Posting(debit, credit, draw.randint(1, 50), ASSET)

    async def call(self, unit: Unit, name: str) -> Reply | None:
        """Submit until answered; None when told to stop before that."""
        while True:
            try:
                outcome = await self.submit(unit)
            except Unavailable as refusal:  # its family: overloaded and outcome_unknown too
                self.told.troubles[refusal.code] += 1
                if self.stop():
                    return None
                await asyncio.sleep(random.uniform(0.01, 0.1))
                continue
            reply = reply_of(name, outcome)
            self.say(reply)
            self.told.accepted += reply.accepted
            self.told.refusals.update(row[6] for row in reply.rows if row[6] is not None)
            return reply
