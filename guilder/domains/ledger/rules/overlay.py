"""What an atomic unit or a dry run changes, remembered so that it can be taken back."""

from dataclasses import fields
from typing import Any

from guilder.domains.ledger.rules.state import (
    Decision,
    Hold,
    LedgerAccount,
    LedgerState,
    Limit,
    Original,
)

type Changing = LedgerAccount | Hold | Limit | Original


class Overlay:
    """The state and the rows as they were when the unit began."""

    def __init__(self, state: LedgerState, out: Decision) -> None:
        self._state = state
        self._out = out
        self._journal: dict[int, tuple[Changing, list[Any]]] = {}
        self._numbers = (out.last_no, out.clock_us)
        self._rows = (len(out.transfers), len(out.entries), len(out.keys), len(out.new_holds))
        self._changed = (
            len(out.changed_holds), len(out.changed_limits), len(out.changed_accounts)
        )  # fmt: skip

    def remember(self, thing: Changing) -> None:
        """Call before the first change of anything in the state."""
        if id(thing) not in self._journal:
            self._journal[id(thing)] = (thing, [getattr(thing, f.name) for f in fields(thing)])

    def roll_back(self) -> None:
        """Put state and rows back to what they were."""
        state, out = self._state, self._out
        transfers, entries, keys, new_holds = self._rows
        for thing, values in self._journal.values():
            for slot, value in zip(fields(thing), values, strict=True):
                setattr(thing, slot.name, value)
        for hold in out.new_holds[new_holds:]:
            del state.holds[hold.id]
            if hold.expires_at is not None:
                state.forget(hold)
        for row in out.transfers[transfers:]:
            state.originals.pop(row[0], None)
        for kept in out.keys[keys:]:
            del state.keys[kept[0]]
        del out.transfers[transfers:], out.entries[entries:]
        del out.keys[keys:], out.new_holds[new_holds:]
        out.last_no, out.clock_us = self._numbers
        _forget(out.changed_holds, self._changed[0])
        _forget(out.changed_limits, self._changed[1])
        _forget(out.changed_accounts, self._changed[2])


def _forget(table: dict[Any, Any], kept: int) -> None:
    """Drop what was put in after the first ``kept``; a dict keeps the order of insertion."""
    while len(table) > kept:
        table.popitem()
