"""Letters: asking for one, and what the token in it is good for.

An address without a user costs the same work, so that neither answer nor time tells. Who gets what
is decided later, when the letter is about to go.
"""

from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

from guilder.core.clock import DAY_US
from guilder.core.ids import uuid7
from guilder.db.unit_of_work import UnitOfWork, View
from guilder.domains.identity.errors import TokenInvalid
from guilder.domains.identity.events import LetterRequested, PasswordChanged
from guilder.domains.identity.repository import failures, letters, sessions, users
from guilder.domains.identity.rules.letters import MOST_A_DAY, Letter, Purpose, check_token
from guilder.domains.identity.rules.lockout import failures_key
from guilder.domains.identity.rules.sessions import EndReason
from guilder.domains.identity.rules.users import User, email_key


async def queue_letter(uow: UnitOfWork, purpose: Purpose, user_id: UUID | None) -> None:
    """Queue a letter; without a ``user_id`` none is sent, after the same work."""
    letter = Letter(uuid7(uow.now_us), purpose, user_id, uow.now_us, uow.now_us + purpose.token_us)
    await letters.insert_letter(uow, letter)
    await uow.record(LetterRequested(letter.id))


@dataclass(frozen=True, slots=True)
class RequestLetter:
    """Ask for a letter with a token to an address, whether or not it has a user."""

    action: ClassVar[str] = "letter.ask"
    purpose: Purpose
    email: str


async def request_letter(uow: UnitOfWork, cmd: RequestLetter) -> None:
    """Note it."""
    user = await users.find_by_email(uow, cmd.email)
    await queue_letter(uow, cmd.purpose, None if user is None else user.id)


@dataclass(frozen=True, slots=True)
class SendLetter:
    """Let a letter go; ``token_hash`` is of the token it brings."""

    action: ClassVar[str] = "letter.send"
    letter_id: UUID
    token_hash: bytes


async def send_letter(uow: UnitOfWork, cmd: SendLetter) -> tuple[Letter, User] | None:
    """The letter and to whom it goes, or None when none should.

    None goes to nobody, to an address that is proved already, about wrong guesses to one that is
    not, and when another one has gone a moment ago or ``MOST_A_DAY`` of all kinds within a day. One
    that was under way when the process died goes again.
    """
    found = await letters.letter_and_user(uow, cmd.letter_id)
    if found is None:
        return None
    letter, user = found
    if letter.purpose is Purpose.VERIFICATION and user.email_verified:
        return None
    if not letter.purpose.token_us and not user.email_verified:
        return None
    if await letters.has_sent_since(uow, letter, uow.now_us - letter.purpose.cooldown_us):
        return None
    if await letters.sent_since(uow, letter, uow.now_us - DAY_US) >= MOST_A_DAY:
        return None
    has_token = letter.purpose.token_us > 0
    await letters.mark_sent(uow, letter.id, cmd.token_hash if has_token else None)
    return letter, user


async def user_of_token(view: View, token_hash: bytes, purpose: Purpose) -> User:
    """The user to whom a token was sent. Raises ``TokenInvalid`` or ``TokenExpired``.

    In a transaction that writes, the token stays locked until it ends.
    """
    found = await letters.letter_of_token(view, token_hash)
    if found is None:
        raise TokenInvalid()
    letter, user = found
    check_token(letter, purpose, view.now_us).unwrap()
    return user


@dataclass(frozen=True, slots=True)
class VerifyEmail:
    """Prove an address by the token that was sent there."""

    action: ClassVar[str] = "user.verify_email"
    token_hash: bytes


async def verify_email(uow: UnitOfWork, cmd: VerifyEmail) -> User:
    """Mark the user's address as verified. Raises ``TokenInvalid`` or ``TokenExpired``."""
    user = await user_of_token(uow, cmd.token_hash, Purpose.VERIFICATION)
    await letters.invalidate_tokens(uow, user.id, Purpose.VERIFICATION)
    changed = await users.change_user(uow, user.id, {"email_verified": True})
    assert changed is not None
    return changed


@dataclass(frozen=True, slots=True)
class ResetPassword:
    """Set a new password by the token of a letter; ``password_hash`` is of one that is good."""

    action: ClassVar[str] = "user.reset_password"
    token_hash: bytes
    password_hash: str
    device_info: str | None


async def reset_password(uow: UnitOfWork, cmd: ResetPassword) -> User:
    """Store it, end all sessions and forget the wrong passwords.

    Whoever has read the letter has verified the address as well. Raises ``TokenInvalid`` or
    ``TokenExpired``; of two who use one token at the same moment the second is refused.
    """
    user = await user_of_token(uow, cmd.token_hash, Purpose.RESET)
    await letters.invalidate_tokens(uow, user.id, Purpose.RESET)
    changed = await users.change_user(
        uow, user.id, {"password_hash": cmd.password_hash, "email_verified": True}
    )
    assert changed is not None
    await sessions.end_sessions(uow, EndReason.PASSWORD_RESET, user.id)
    await failures.forget_failures(uow, failures_key(email_key(user.email)))
    await uow.record(PasswordChanged(user.id, cmd.device_info))
    return changed


@dataclass(frozen=True, slots=True)
class PruneLetters:
    """Forget letters whose tokens are long dead, ``most`` at a time."""

    action: ClassVar[str] = "letter.prune"
    most: int = 1_000


async def prune_letters(uow: UnitOfWork, cmd: PruneLetters) -> int:
    """How many were forgotten."""
    return await letters.prune_letters(uow, cmd.most)
