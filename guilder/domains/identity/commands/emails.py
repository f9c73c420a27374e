"""Changing one's e-mail address: proved at the new one, told to the old one, undone from there."""

from dataclasses import asdict, dataclass
from typing import ClassVar, Final

from guilder.core.clock import DAY_US, SECOND_US
from guilder.core.errors import RateLimited, Unauthenticated
from guilder.db.audit import change_details
from guilder.db.unit_of_work import UnitOfWork, View
from guilder.domains.identity.commands.letters import (
    already_confirmed,
    letter_of,
    letter_of_any_token,
    new_letter,
    renew_password,
    take_factors,
)
from guilder.domains.identity.errors import EmailTaken, TokenInvalid
from guilder.domains.identity.events import LetterRequested, PasswordChanged
from guilder.domains.identity.repository import (
    emails,
    factors,
    failures,
    letters,
    sessions,
    users,
)
from guilder.domains.identity.repository.emails import EmailChange
from guilder.domains.identity.rules.changes import SecurityChange
from guilder.domains.identity.rules.letters import Purpose
from guilder.domains.identity.rules.lockout import failures_key
from guilder.domains.identity.rules.sessions import EndReason
from guilder.domains.identity.rules.users import User, email_key

MAX_CHANGES_A_DAY: Final = 5
"""Of one user, so that nobody writes to many mailboxes in the bank's name."""
SENT_TO_ADDRESS: Final = (Purpose.VERIFICATION, Purpose.RESET, Purpose.NEW_EMAIL)
"""What is good for nothing any more once the address is another one. The link that removes factors
is not among it: it lets nobody in, and may be what the owner has against a thief's passkey."""


@dataclass(frozen=True, slots=True)
class RequestEmailChange:
    """Ask for another address of the acting user."""

    action: ClassVar[str] = "email.ask_change"
    email: str


async def request_email_change(uow: UnitOfWork, cmd: RequestEmailChange) -> User:
    """Note it and queue the letter to the new address; earlier ones are good no more.

    Whether that address is somebody else's is not told: then no letter goes. Raises
    ``RateLimited`` after too many in a day, and ``Unauthenticated`` without an active user.
    """
    uow.audit(uow.actor.user_id)
    found = None
    if uow.actor.user_id is not None:
        found = await users.lock_active_user(uow, uow.actor.user_id)
    if found is None:
        raise Unauthenticated()
    user = found[0]
    if await emails.changes_since(uow, user.id, uow.now_us - DAY_US) >= MAX_CHANGES_A_DAY:
        raise RateLimited(retry_after_seconds=DAY_US // SECOND_US)
    await letters.invalidate_tokens(uow, user.id, Purpose.NEW_EMAIL)
    letter = await new_letter(uow, Purpose.NEW_EMAIL, user.id)
    change = EmailChange(
        letter.id, user.id, user.email, cmd.email, uow.now_us, session_id=uow.actor.session_id
    )
    await emails.insert_change(uow, change)
    await uow.record(LetterRequested(letter.id))
    return user


@dataclass(frozen=True, slots=True)
class ConfirmEmailChange:
    """Change the address by the token that was sent to the new one."""

    action: ClassVar[str] = "email.change"
    token_hash: bytes


async def confirm_email_change(uow: UnitOfWork, cmd: ConfirmEmailChange) -> User:
    """Store it, and tell the old address with a way to undo it, if that was proved.

    Letters that went to the old address are good for nothing any more. Raises ``TokenInvalid``,
    ``TokenExpired``, or ``EmailTaken`` when somebody else has proved the address.
    """
    user, change = await change_to_confirm(uow, cmd.token_hash)
    for purpose in SENT_TO_ADDRESS:
        await letters.invalidate_tokens(uow, user.id, purpose)
    changed = await _moved(uow, user, change.new_email)
    await failures.forget_failures(uow, failures_key(email_key(change.old_email)))
    if user.email_verified:
        undo = await new_letter(uow, Purpose.UNDO_EMAIL, user.id)
        await emails.note_undo(uow, change, undo.id)
        await uow.record(LetterRequested(undo.id))
    return changed


async def change_to_confirm(view: View, token_hash: bytes) -> tuple[User, EmailChange]:
    """What the token of a new address confirms, while the session that asked for it is open.

    Whoever ends sessions so ends what was begun in them. Raises ``TokenInvalid`` or
    ``TokenExpired``.
    """
    try:
        user, change = await change_of_token(view, token_hash, Purpose.NEW_EMAIL)
    except TokenInvalid:
        used = await letter_of_any_token(view, token_hash, Purpose.NEW_EMAIL)
        made = None if used is None else await emails.change_of_letter(view, used[0].id)
        if used is None or made is None or used[1].email != made.new_email:
            raise
        raise already_confirmed() from None
    session = None
    if change.session_id is not None:
        session = await sessions.session_of(view, user.id, change.session_id)
    if session is None or not session.is_open(view.now_us):
        raise TokenInvalid("The session that asked for this change has ended. Ask for it again.")
    return user, change


@dataclass(frozen=True, slots=True)
class UndoEmailChange:
    """Give a login back to the old address, by the token that was sent there.

    ``password_hash`` is of a new password that is good.
    """

    action: ClassVar[str] = "email.undo_change"
    token_hash: bytes
    password_hash: str
    device_info: str | None


async def undo_email_change(uow: UnitOfWork, cmd: UndoEmailChange) -> User:
    """Store it with the new password, for whoever changed the address knows the present one.

    Whoever that was may have left factors, too: passkeys go, and the app ends after its notice, as
    with the link that comes after a reset. All sessions end. Changes of the address
    that came after this one cannot be undone any more, those before it can. Raises
    ``TokenInvalid``, ``TokenExpired``, or ``EmailTaken`` when somebody else has proved the old
    address meanwhile.
    """
    user, change = await change_of_token(uow, cmd.token_hash, Purpose.UNDO_EMAIL)
    for purpose in SENT_TO_ADDRESS:
        await letters.invalidate_tokens(uow, user.id, purpose)
    await emails.end_undos_since(uow, change)
    moved = await _moved(uow, user, change.old_email)
    if await factors.has_any(uow, user.id):
        await take_factors(uow, user.id, SecurityChange.FACTORS_UNDONE)
    changed = await renew_password(uow, moved, cmd.password_hash, EndReason.EMAIL_CHANGE_UNDONE)
    await uow.record(PasswordChanged(user.id, cmd.device_info))
    return changed


async def change_of_token(
    view: View, token_hash: bytes, purpose: Purpose
) -> tuple[User, EmailChange]:
    """The change that a token makes or undoes. Raises ``TokenInvalid`` or ``TokenExpired``."""
    letter, user = await letter_of(view, token_hash, purpose)
    change = await emails.change_of_letter(view, letter.id)
    if change is None:
        raise TokenInvalid()
    return user, change


async def _moved(uow: UnitOfWork, user: User, email: str) -> User:
    """Give the user that address, which another login loses that has never proved it."""
    owner = await users.lock_by_email(uow, email)
    if owner is not None and owner.id != user.id:
        if not owner.yields_address:
            raise EmailTaken()
        await users.give_up_address(uow, owner.id)
        for purpose in (Purpose.VERIFICATION, Purpose.RESET):
            await letters.invalidate_tokens(uow, owner.id, purpose)
        uow.audit(user.id, taken_from=owner.id)
    changed = await emails.put_email(uow, user.id, email)
    uow.audit(user.id, **change_details(asdict(user), asdict(changed), show=()))
    return changed
