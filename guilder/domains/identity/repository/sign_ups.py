"""The SQL of sign-ups with an address that has a login already."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import exists, select
from sqlalchemy.dialects import postgresql, sqlite

from guilder.db.unit_of_work import UnitOfWork, View
from guilder.domains.identity.models import repeated_sign_ups
from guilder.domains.identity.rules.users import SIGN_UP_US

_POSTGRESQL: Final = postgresql.insert(repeated_sign_ups)
_SQLITE: Final = sqlite.insert(repeated_sign_ups)
_NOTE: Final = {
    "postgresql": _POSTGRESQL.on_conflict_do_update(
        index_elements=["mac"], set_={"created_at": _POSTGRESQL.excluded.created_at}
    ),
    "sqlite": _SQLITE.on_conflict_do_update(
        index_elements=["mac"], set_={"created_at": _SQLITE.excluded.created_at}
    ),
}


async def note_repeated(uow: UnitOfWork, mac: bytes) -> None:
    """Somebody has signed up now with an address that is known, and the password of that MAC."""
    await uow.execute(_NOTE[uow.dialect], {"mac": mac, "created_at": uow.now_us})


async def was_repeated(view: View, macs: Sequence[bytes]) -> bool:
    """Whether somebody has done so within ``SIGN_UP_US``; the MACs are of one password."""
    found = exists().where(
        repeated_sign_ups.c.mac.in_(macs),
        repeated_sign_ups.c.created_at > view.now_us - SIGN_UP_US,
    )
    return bool(await view.scalar(select(found)))
