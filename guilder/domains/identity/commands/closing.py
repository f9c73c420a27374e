"""Closing a login for good; what the bank must keep of its user stays."""

from dataclasses import asdict, dataclass, replace
from typing import ClassVar

from guilder.core.errors import Unauthenticated
from guilder.db.audit import change_details
from guilder.db.unit_of_work import UnitOfWork
from guilder.domains.identity.errors import LastAdmin
from guilder.domains.identity.events import LoginClosed
from guilder.domains.identity.repository import factors, letters, sessions, users
from guilder.domains.identity.rules.letters import Purpose
from guilder.domains.identity.rules.sessions import EndReason
from guilder.domains.identity.rules.users import User


@dataclass(frozen=True, slots=True)
class CloseLogin:
    """Close the acting user's login."""

    action: ClassVar[str] = "user.close"


async def lock_login(uow: UnitOfWork) -> User:
    """The acting user, whose login may be closed, locked until the transaction ends.

    Raises ``LastAdmin``, or ``Unauthenticated`` without an active user.
    """
    if uow.actor.user_id is None:
        raise Unauthenticated()
    admins = await users.lock_active_admins(uow)
    found = await users.lock_active_user(uow, uow.actor.user_id)
    if found is None:
        raise Unauthenticated()
    user = found[0]
    if admins == [user.id]:
        raise LastAdmin()
    return user


async def close_login(uow: UnitOfWork, _cmd: CloseLogin) -> User:
    """Switch it off for good, end its sessions, and forget its password and factors.

    The address is free for another login. Raises what ``lock_login`` raises.
    """
    user = await lock_login(uow)
    await factors.remove_totp(uow, user.id)
    await factors.remove_passkeys(uow, user.id)
    for purpose in Purpose:
        await letters.invalidate_tokens(uow, user.id, purpose)
    await users.close_user(uow, user.id)
    off = change_details(asdict(user), asdict(replace(user, is_active=False)), show={"is_active"})
    uow.audit(user.id, **off)
    await sessions.end_sessions(uow, EndReason.LOGIN_CLOSED, user.id)
    await uow.record(LoginClosed(user.id))
    return user
