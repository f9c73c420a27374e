"""Letters: asking for one, and what the token in it is good for.

An address without a user costs the same work, so that neither answer nor time tells. Who gets what
is decided later, when the letter is about to go.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar
from uuid import UUID

from guilder.core.clock import DAY_US
from guilder.core.ids import uuid7
from guilder.db.unit_of_work import UnitOfWork, View
from guilder.domains.identity.errors import TokenInvalid
from guilder.domains.identity.events import LetterRequested, PasswordChanged, SecurityChanged
from guilder.domains.identity.repository import factors, failures, letters, sessions, users
from guilder.domains.identity.rules.changes import SecurityChange
from guilder.domains.identity.rules.factors import TOTP_NOTICE_US
from guilder.domains.identity.rules.letters import (
    CLAIM_US,
    MOST_A_DAY,
    Letter,
    Purpose,
    check_token,
)
from guilder.domains.identity.rules.lockout import failures_key
from guilder.domains.identity.rules.sessions import EndReason
from guilder.domains.identity.rules.users import User, email_key


async def queue_letter(uow: UnitOfWork, purpose: Purpose, user_id: UUID | None) -> None:
    """Queue a letter; without a ``user_id`` none is sent, after the same work."""
    await uow.record(LetterRequested((await _new_letter(uow, purpose, user_id)).id))


async def _new_letter(uow: UnitOfWork, purpose: Purpose, user_id: UUID | None) -> Letter:
    now_us = uow.now_us
    letter = Letter(uuid7(now_us), purpose, user_id, now_us, now_us + purpose.wait_us)
    await letters.insert_letter(uow, letter)
    return letter


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
    """Claim a letter to send it; ``token_hash`` is of the token it brings."""

    action: ClassVar[str] = "letter.send"
    letter_id: UUID
    token_hash: bytes


class LetterClaim(Enum):
    """What becomes of a letter that was not claimed."""

    NEVER = "it should not go"
    LATER = "another one of the kind is under way to the same user, on which it depends"


async def send_letter(uow: UnitOfWork, cmd: SendLetter) -> tuple[Letter, User] | LetterClaim:
    """The letter and to whom it goes, or why not; its token is good from now on.

    None goes to nobody, to an address that is proved already, about wrong guesses to one that is
    not, after too long a wait, and when another one has arrived a moment ago or ``MOST_A_DAY`` of
    all kinds within a day. One that was under way when the process died goes again.
    """
    found = await letters.letter_and_user(uow, cmd.letter_id)
    if found is None:
        return LetterClaim.NEVER
    letter, user = found
    if letter.purpose is Purpose.VERIFICATION and user.email_verified:
        return LetterClaim.NEVER
    if not letter.purpose.token_us and not user.email_verified:
        return LetterClaim.NEVER
    now_us, purpose = uow.now_us, letter.purpose
    if letter.is_stale(now_us):
        return LetterClaim.NEVER
    if purpose.cooldown_us:
        # First: one that goes between two of these questions is then seen by a later one.
        if await letters.is_under_way(uow, letter, now_us - CLAIM_US):
            return LetterClaim.LATER
        if await letters.has_sent_since(uow, letter, now_us - purpose.cooldown_us):
            return LetterClaim.NEVER
        if await letters.sent_since(uow, letter, now_us - DAY_US) >= MOST_A_DAY:
            return LetterClaim.NEVER
    life = purpose.token_us
    await letters.claim(uow, letter.id, cmd.token_hash if life else None, now_us + life)
    return letter, user


@dataclass(frozen=True, slots=True)
class MarkLetterSent:
    """Note that a letter has been handed over; only then it counts as sent."""

    action: ClassVar[str] = "letter.mark_sent"
    letter_id: UUID


async def mark_letter_sent(uow: UnitOfWork, cmd: MarkLetterSent) -> None:
    """Note it."""
    await letters.mark_sent(uow, cmd.letter_id)


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
    try:
        user = await user_of_token(uow, cmd.token_hash, Purpose.VERIFICATION)
    except TokenInvalid:
        found = await letters.letter_of_token(uow, cmd.token_hash)
        used = found is not None and found[0].purpose is Purpose.VERIFICATION
        if found is None or not used or not found[1].email_verified:
            raise
        raise TokenInvalid(
            "This e-mail address is confirmed already. You can sign in.",
            extra={"already_confirmed": True},
        ) from None
    await letters.invalidate_tokens(uow, user.id, Purpose.VERIFICATION)
    return await _proved(uow, user, {})


@dataclass(frozen=True, slots=True)
class ResetPassword:
    """Set a new password by the token of a letter; ``password_hash`` is of one that is good."""

    action: ClassVar[str] = "user.reset_password"
    token_hash: bytes
    password_hash: str
    device_info: str | None


async def reset_password(uow: UnitOfWork, cmd: ResetPassword) -> User:
    """Store it, end all sessions, and forget every failure and every device.

    Whoever has read the letter has verified the address as well. Where that is for the first time,
    whoever made the login need not be them, so its factors go, too; any other keeps them, and the
    letter tells which there are and how to remove them. Raises ``TokenInvalid`` or
    ``TokenExpired``; of two who use one token at the same moment the second is refused.
    """
    user = await user_of_token(uow, cmd.token_hash, Purpose.RESET)
    await letters.invalidate_tokens(uow, user.id, Purpose.RESET)
    await letters.invalidate_tokens(uow, user.id, Purpose.VERIFICATION)
    if not user.email_verified:
        await factors.remove_totp(uow, user.id)
        await factors.remove_passkeys(uow, user.id)
    changed = await _proved(uow, user, {"password_hash": cmd.password_hash})
    await sessions.end_sessions(uow, EndReason.PASSWORD_RESET, user.id)
    await failures.forget_all_failures(uow, user.id, failures_key(email_key(user.email)))
    letter = None
    if await factors.has_any(uow, user.id):
        letter = (await _new_letter(uow, Purpose.FACTORS, user.id)).id
    await uow.record(PasswordChanged(user.id, cmd.device_info, letter))
    return changed


async def _proved(uow: UnitOfWork, user: User, values: Mapping[str, object]) -> User:
    """Change a user whose address has just been proved; devices of before are known no more."""
    proved = {"email_verified": True, "known_since": uow.now_us}
    changed = await users.change_user(uow, user.id, {**proved, **values})
    assert changed is not None
    return changed


@dataclass(frozen=True, slots=True)
class GiveUpFactors:
    """Remove one's factors by the token that came after a reset."""

    action: ClassVar[str] = "factors.give_up"
    token_hash: bytes


async def give_up_factors(uow: UnitOfWork, cmd: GiveUpFactors) -> User:
    """Remove the passkeys, end all sessions, and let the authenticator app end after its notice.

    A passkey is a way in, so it goes at once. An app is asked for beside the password: whoever can
    read the letters of somebody else is kept out by it for ``TOTP_NOTICE_US``, and for good once
    its owner has used it meanwhile. Raises ``TokenInvalid`` or ``TokenExpired``.
    """
    user = await user_of_token(uow, cmd.token_hash, Purpose.FACTORS)
    await letters.invalidate_tokens(uow, user.id, Purpose.FACTORS)
    await factors.remove_passkeys(uow, user.id)
    await factors.end_totp(uow, user.id, uow.now_us + TOTP_NOTICE_US)
    await sessions.end_sessions(uow, EndReason.FACTORS_CHANGED, user.id)
    await uow.record(SecurityChanged(user.id, SecurityChange.FACTORS_GIVEN_UP))
    changed = await users.change_user(uow, user.id, {"known_since": uow.now_us})
    assert changed is not None
    return changed


@dataclass(frozen=True, slots=True)
class PruneLetters:
    """Forget letters whose tokens are long dead, ``most`` at a time."""

    action: ClassVar[str] = "letter.prune"
    most: int = 1_000


async def prune_letters(uow: UnitOfWork, cmd: PruneLetters) -> int:
    """How many were forgotten."""
    return await letters.prune_letters(uow, cmd.most)
