"""The reads of identity."""

from collections.abc import Sequence
from uuid import UUID

from guilder.core.actor import Actor
from guilder.core.clock import SECOND_US, iso_instant
from guilder.core.errors import Forbidden, Unauthenticated
from guilder.core.ownership import owns
from guilder.core.page import Page, PageRequest, cursor_id, paginate
from guilder.core.permissions import Permission
from guilder.db.unit_of_work import View
from guilder.domains.identity.errors import (
    AccountLocked,
    PasskeyNotFound,
    SessionNotFound,
    UserNotFound,
)
from guilder.domains.identity.repository import factors, failures, letters, sessions, sign_in, users
from guilder.domains.identity.rules.factors import Factors, Passkey
from guilder.domains.identity.rules.lockout import Locked
from guilder.domains.identity.rules.sessions import Session
from guilder.domains.identity.rules.users import User, UserFilter


async def session_user(
    view: View, session_id: UUID, user_id: UUID, version: int
) -> sign_in.SessionFacts:
    """The user of a session, and when they last signed in or stepped up (microseconds since 1970).

    ``version`` is the token's. Raises ``Unauthenticated`` for a session that has ended, an inactive
    user, and a version before a rotation whose grace is over.
    """
    found = await sign_in.find_user_of_session(view, session_id, user_id, version)
    if found is None:
        raise Unauthenticated()
    return found


async def user_by_email(view: View, email: str) -> User | None:
    """The user with this address, None when there is none."""
    return await users.find_by_email(view, email)


async def count_users(view: View) -> int:
    """How many users there are, for who looks at the whole database."""
    return await users.count(view)


async def mailable_user(view: View, user_id: UUID) -> User | None:
    """An active user with a verified address, else None; letters go to nobody else."""
    user = await users.find_active_user(view, user_id)
    return user if user is not None and user.email_verified else None


async def closed_user(view: View, user_id: UUID) -> User | None:
    """A user who has closed their login and had proved the address."""
    user = await users.user(view, user_id)
    closed = user is not None and await users.is_closed(view, user_id)
    return user if user is not None and closed and user.email_verified else None


async def session_if_not_first(view: View, user_id: UUID, session_id: UUID) -> Session | None:
    """A session, None for the first one that its user has opened."""
    if not await letters.sessions_before(view, user_id, session_id):
        return None
    return await sessions.session_of(view, user_id, session_id)


async def has_old_letters(view: View) -> bool:
    """Whether there are letters to prune."""
    return await letters.has_old(view)


async def unknown_keys(
    view: View, prefix: str, marks: Sequence[str], heads: Sequence[bytes]
) -> tuple[list[str], list[bytes]]:
    """With what hashes and sealed secrets begin that name a key which is not known.

    Hashes that name one have the ``prefix``; ``marks`` and ``heads`` are those of known keys.
    """
    return (
        await users.marks_besides(view, prefix, marks),
        await factors.heads_besides(view, heads),
    )


async def get_me(view: View, actor: Actor) -> User:
    """The acting user. Raises ``Unauthenticated`` for an inactive one."""
    user = None
    if actor.user_id is not None:
        user = await users.find_active_user(view, actor.user_id)
    if user is None:
        raise Unauthenticated()
    return user


async def get_factors(view: View, actor: Actor) -> Factors:
    """The actor's second factors. Raises ``Unauthenticated`` without a user."""
    if actor.user_id is None:
        raise Unauthenticated()
    return await factors_of(view, actor.user_id)


async def factors_of(view: View, user_id: UUID) -> Factors:
    """The second factors of a user; recovery codes go with the app."""
    totp = await factors.active_totp(view, user_id)
    return Factors(
        totp,
        0 if totp is None else await factors.recovery_codes_left(view, user_id),
        tuple(await factors.passkeys_of(view, user_id)),
    )


async def must_prove_factor(view: View, user_id: UUID) -> bool:
    """Whether a user has an authenticator app or a passkey, or had, until a letter removed them.

    Else who reads the letters would set up a factor in the place of the one that is demanded.
    """
    return await factors.has_any(view, user_id) or await users.has_given_up_factors(view, user_id)


async def list_passkeys(view: View, actor: Actor, page: PageRequest) -> Page[Passkey]:
    """A page of the actor's own passkeys, newest first."""
    rows = await factors.newest_passkeys(view, actor, cursor_id(page), page.limit + 1, page.offset)
    return paginate(rows, page, lambda passkey: str(passkey.id))


async def get_passkey(view: View, actor: Actor, passkey_id: UUID) -> Passkey:
    """One of the actor's own passkeys. Raises ``PasskeyNotFound`` for any other."""
    passkey = await factors.passkey(view, actor, passkey_id)
    if passkey is None:
        raise PasskeyNotFound()
    return passkey


async def get_session(view: View, actor: Actor, session_id: UUID) -> Session:
    """One of the actor's own sessions. Raises ``SessionNotFound`` for any other."""
    session = await sessions.session(view, actor, session_id)
    if session is None:
        raise SessionNotFound()
    return session


async def list_sessions(view: View, actor: Actor, page: PageRequest) -> Page[Session]:
    """A page of the actor's own sessions, ended ones too, newest first."""
    rows = await sessions.newest_sessions(view, actor, cursor_id(page), page.limit + 1, page.offset)
    return paginate(rows, page, lambda session: str(session.id))


async def get_user(view: View, actor: Actor, user_id: UUID) -> User:
    """A user, for an admin. Raises ``Forbidden`` or ``UserNotFound``."""
    _require_permission(actor)
    user = await users.user(view, user_id)
    if user is None:
        raise UserNotFound()
    if not owns(actor, user.id):
        view.tell_read(actor, "user.read", user.id)
    return user


async def list_users(view: View, actor: Actor, wanted: UserFilter, page: PageRequest) -> Page[User]:
    """A page of all users, newest first. Raises ``Forbidden`` unless the actor may read users."""
    _require_permission(actor)
    before = cursor_id(page)
    rows = await users.newest_users(view, wanted, before, page.limit + 1, page.offset)
    view.tell_read(actor, "user.list", found=min(len(rows), page.limit))
    return paginate(rows, page, lambda user: str(user.id))


async def check_not_locked(view: View, key: bytes, what: Locked) -> None:
    """Raises ``AccountLocked`` while the key is locked, which says what is and until when."""
    known = await failures.failures_of(view, key)
    if known is not None and (seconds := known.locked_seconds(view.now_us)):
        until = iso_instant(-(-known.locked_until // SECOND_US) * SECOND_US)
        raise AccountLocked(
            f"{what.value} Try again after {until}.",
            extra={"locked_until": until},
            retry_after_seconds=seconds,
        )


def _require_permission(actor: Actor) -> None:
    if not actor.has_permission(Permission.USERS_READ):
        raise Forbidden()
