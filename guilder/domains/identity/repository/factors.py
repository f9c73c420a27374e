"""The SQL of second factors: authenticator apps, recovery codes, passkeys."""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Row, func, or_, select
from sqlalchemy.exc import IntegrityError

from guilder.core.actor import Actor
from guilder.core.clock import DAY_US
from guilder.db.base import Bytes
from guilder.db.unit_of_work import UnitOfWork, View
from guilder.domains.identity.models import (
    passkeys,
    recovery_codes,
    sessions,
    totps,
    used_challenges,
)
from guilder.domains.identity.rules.factors import Passkey, PasskeyProof, Totp

_PASSKEY: Final = (
    passkeys.c.id,
    passkeys.c.user_id,
    passkeys.c.name,
    passkeys.c.credential_id,
    passkeys.c.public_key,
    passkeys.c.sign_count,
    passkeys.c.created_at,
    passkeys.c.last_used_at,
)


def has_not_ended(now_us: int) -> ColumnElement[bool]:
    """Whether an authenticator app still counts, which its user has perhaps given up by a letter"""
    return or_(totps.c.ends_at.is_(None), totps.c.ends_at > now_us)


async def totp(view: View, user_id: UUID) -> Totp | None:
    """The authenticator app of a user, confirmed or not."""
    statement = select(totps).where(totps.c.user_id == user_id, has_not_ended(view.now_us))
    row = await view.first(statement)
    return None if row is None else Totp(*row)


async def active_totp(view: View, user_id: UUID) -> Totp | None:
    """A user's confirmed authenticator app, which is required to sign in."""
    found = await totp(view, user_id)
    return None if found is None or found.confirmed_at is None else found


async def heads_besides(view: View, known: Sequence[bytes]) -> list[bytes]:
    """Some beginnings of sealed secrets that are not ``known``, all as long."""
    head = func.substr(totps.c.secret, 1, len(known[0]), type_=Bytes)
    return [
        row[0] for row in await view.all(select(head).where(head.not_in(known)).distinct().limit(5))
    ]


async def put_totp(uow: UnitOfWork, new: Totp) -> None:
    """Store an app in the place of whichever there was; the user is locked."""
    await uow.execute(totps.delete().where(totps.c.user_id == new.user_id))
    await uow.execute(
        totps.insert().values(
            user_id=new.user_id,
            secret=new.secret,
            created_at=new.created_at,
            confirmed_at=new.confirmed_at,
            last_step=new.last_step,
        )
    )


async def end_totp(uow: UnitOfWork, user_id: UUID, ends_at: int) -> bool:
    """Let the user's app count until then, unless it is used before; False when there is none, or
    it ends already: a later notice neither prolongs it nor brings it back.
    """
    done = await uow.execute(
        totps.update()
        .where(totps.c.user_id == user_id, totps.c.ends_at.is_(None))
        .values(ends_at=ends_at)
    )
    return done.rowcount == 1


async def keep_totp(uow: UnitOfWork, user_id: UUID) -> bool:
    """The user has the app, or its recovery codes: it does not end; False when it was not to."""
    done = await uow.execute(
        totps.update()
        .where(totps.c.user_id == user_id, totps.c.ends_at.is_not(None))
        .values(ends_at=None)
    )
    return done.rowcount == 1


async def use_step(uow: UnitOfWork, user_id: UUID, step: int) -> bool:
    """Use a time step of the user's app; False when it or a later one was used before."""
    done = await uow.execute(
        totps.update()
        .where(
            totps.c.user_id == user_id,
            totps.c.confirmed_at.is_not(None),
            totps.c.last_step < step,
        )
        .values(last_step=step)
    )
    return done.rowcount == 1


async def put_recovery_codes(uow: UnitOfWork, user_id: UUID, hashes: Sequence[bytes]) -> None:
    """Store a set of recovery codes; all there were before are dead."""
    await uow.execute(recovery_codes.delete().where(recovery_codes.c.user_id == user_id))
    rows = [{"hash": hash_, "user_id": user_id} for hash_ in hashes]
    await uow.execute(recovery_codes.insert(), rows)


async def known_recovery_code(view: View, user_id: UUID, hashes: Sequence[bytes]) -> bytes | None:
    """Which of the hashes is of an unused recovery code of the user."""
    found: bytes | None = await view.scalar(
        select(recovery_codes.c.hash).where(
            recovery_codes.c.user_id == user_id, recovery_codes.c.hash.in_(hashes)
        )
    )
    return found


async def use_recovery_code(uow: UnitOfWork, user_id: UUID, hash_: bytes) -> bool:
    """Use a recovery code; False when it was used before or never given out."""
    done = await uow.execute(
        recovery_codes.delete().where(
            recovery_codes.c.user_id == user_id, recovery_codes.c.hash == hash_
        )
    )
    return done.rowcount == 1


async def recovery_codes_left(view: View, user_id: UUID) -> int:
    """How many recovery codes are unused."""
    statement = select(func.count()).where(recovery_codes.c.user_id == user_id)
    count: int = await view.scalar(statement)
    return count


async def remove_totp(uow: UnitOfWork, user_id: UUID) -> bool:
    """Remove the user's app and its recovery codes; False when there was no app."""
    await uow.execute(recovery_codes.delete().where(recovery_codes.c.user_id == user_id))
    return (await uow.execute(totps.delete().where(totps.c.user_id == user_id))).rowcount == 1


async def insert_passkey(uow: UnitOfWork, new: Passkey) -> bool:
    """Store a passkey; False when anybody has it already."""
    try:
        await uow.execute(
            passkeys.insert().values(
                id=new.id,
                user_id=new.user_id,
                name=new.name,
                credential_id=new.credential_id,
                public_key=new.public_key,
                sign_count=new.sign_count,
                created_at=new.created_at,
            )
        )
    except IntegrityError:
        return False
    return True


async def passkeys_of(view: View, user_id: UUID) -> list[Passkey]:
    """All of a user's passkeys, the oldest first."""
    statement = select(*_PASSKEY).where(passkeys.c.user_id == user_id).order_by(passkeys.c.id)
    return [_passkey(row) for row in await view.all(statement)]


async def newest_passkeys(
    view: View, actor: Actor, before: UUID | None, count: int, offset: int
) -> list[Passkey]:
    """The actor's own passkeys, the newest first, on from the id ``before``."""
    statement = select(*_PASSKEY).where(passkeys.c.user_id == actor.user_id)
    if before is not None:
        statement = statement.where(passkeys.c.id < before)
    statement = statement.order_by(passkeys.c.id.desc()).limit(count).offset(offset)
    return [_passkey(row) for row in await view.all(statement)]


async def passkey(view: View, actor: Actor, passkey_id: UUID) -> Passkey | None:
    """One of the actor's own passkeys, None when they have none of that id."""
    statement = select(*_PASSKEY).where(
        passkeys.c.id == passkey_id, passkeys.c.user_id == actor.user_id
    )
    row = await view.first(statement)
    return None if row is None else _passkey(row)


async def passkey_by_credential(view: View, credential_id: bytes) -> Passkey | None:
    """The passkey with that credential id, whoever's it is."""
    row = await view.first(select(*_PASSKEY).where(passkeys.c.credential_id == credential_id))
    return None if row is None else _passkey(row)


async def use_passkey(uow: UnitOfWork, user_id: UUID, proof: PasskeyProof) -> bool:
    """Move a passkey's counter on; False when it has moved past that or is not the user's.

    Passkeys that live on several devices do not count and stay at zero.
    """
    done = await uow.execute(
        passkeys.update()
        .where(
            passkeys.c.id == proof.passkey_id,
            passkeys.c.user_id == user_id,
            or_(
                passkeys.c.sign_count < proof.sign_count,
                (passkeys.c.sign_count == 0) & (proof.sign_count == 0),
            ),
        )
        .values(sign_count=proof.sign_count, last_used_at=uow.now_us)
    )
    return done.rowcount == 1


async def use_challenge(uow: UnitOfWork, hash_: bytes, ends_at: int) -> bool:
    """Use a challenge up; False when it was used before or has ended.

    Those that ended long ago are forgotten: long enough for servers whose clocks differ.
    """
    if ends_at <= uow.now_us:
        return False
    long_ago = uow.now_us - DAY_US
    await uow.execute(used_challenges.delete().where(used_challenges.c.ends_at < long_ago))
    try:
        await uow.execute(used_challenges.insert().values(hash=hash_, ends_at=ends_at))
    except IntegrityError:
        return False
    return True


async def remove_passkey(uow: UnitOfWork, actor: Actor, passkey_id: UUID) -> bool:
    """Remove one of the actor's own passkeys; False when they have none of that id."""
    done = await uow.execute(
        passkeys.delete().where(passkeys.c.id == passkey_id, passkeys.c.user_id == actor.user_id)
    )
    return done.rowcount == 1


async def has_any(view: View, user_id: UUID) -> bool:
    """Whether the user has a passkey or a confirmed authenticator app."""
    return await active_totp(view, user_id) is not None or bool(await passkeys_of(view, user_id))


async def remove_passkeys(uow: UnitOfWork, user_id: UUID) -> None:
    """Remove all passkeys of a user."""
    await uow.execute(passkeys.delete().where(passkeys.c.user_id == user_id))


async def mark_stepped_up(
    uow: UnitOfWork, session_id: UUID, user_id: UUID, *, with_factor: bool
) -> bool:
    """Note that the session has stepped up now; False when it has ended."""
    values = {"proved_at": uow.now_us}
    if with_factor:
        values["factor_at"] = uow.now_us
    done = await uow.execute(
        sessions.update()
        .where(
            sessions.c.id == session_id,
            sessions.c.user_id == user_id,
            sessions.c.ended_at.is_(None),
        )
        .values(**values)
    )
    return done.rowcount == 1


def _passkey(row: Row[Any]) -> Passkey:
    return Passkey(
        row.id,
        row.user_id,
        row.name,
        row.credential_id,
        row.public_key,
        row.sign_count,
        row.created_at,
        row.last_used_at,
    )
