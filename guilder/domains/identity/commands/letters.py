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
from guilder.domains.identity.repository import emails, factors, failures, letters, sessions, users
from guilder.domains.identity.repository.emails import EmailChange
from guilder.domains.identity.rules.changes import SecurityChange
from guilder.domains.identity.rules.factors import TOTP_NOTICE_US
from guilder.domains.identity.rules.letters import (
    CLAIM_US,
    Letter,
    Purpose,
    check_token,
    mailbox_key,
)
from guilder.domains.identity.rules.lockout import failures_key
from guilder.domains.identity.rules.sessions import EndReason
from guilder.domains.identity.rules.users import User, email_key


async def queue_letter(uow: UnitOfWork, purpose: Purpose, user_id: UUID | None) -> None:
    """Queue a letter; without a ``user_id`` none is sent, after the same work."""
    event = LetterRequested((await new_letter(uow, purpose, user_id)).id)
    await uow.record(event, purpose.delay_us)


async def new_letter(uow: UnitOfWork, purpose: Purpose, user_id: UUID | None) -> Letter:
    """Store a letter that goes with an event."""
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
    """Note it; whoever asks to prove a disputed address gets the letter that sets a password."""
    user = await users.find_by_email(uow, cmd.email)
    purpose = cmd.purpose
    if user is not None and not user.email_verified and user.is_disputed:
        purpose = Purpose.RESET
    uow.audit(None if user is None else user.id, purpose=purpose.value)
    await queue_letter(uow, purpose, None if user is None else user.id)


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


@dataclass(frozen=True, slots=True)
class ClaimedLetter:
    """A letter that is about to go, and whose it is; with the change of an address it is about."""

    letter: Letter
    user: User
    change: EmailChange | None

    @property
    def to(self) -> str:
        """The address it goes to, which is not always the user's present one."""
        if self.change is None:
            return self.user.email
        is_new = self.letter.purpose is Purpose.NEW_EMAIL
        return self.change.new_email if is_new else self.change.old_email


async def send_letter(uow: UnitOfWork, cmd: SendLetter) -> ClaimedLetter | LetterClaim:
    """The letter and to whom it goes, or why not; its token is good from now on.

    None goes to nobody, to an address that is proved already, or somebody else's, about wrong
    guesses to one that is not proved, after too long a wait, and when another one has arrived a
    moment ago or ``Purpose.most_a_day`` in one mailbox within a day. One that was under way when
    the process died goes again.
    """
    found = await letters.letter_and_user(uow, cmd.letter_id)
    if found is None:
        return LetterClaim.NEVER
    letter, user = found
    change = await emails.change_of_letter(uow, letter.id)
    claimed = ClaimedLetter(letter, user, change)
    now_us, purpose, mailbox = uow.now_us, letter.purpose, mailbox_key(claimed.to)
    if letter.is_stale(now_us) or not await _may_go(uow, claimed):
        return LetterClaim.NEVER
    if purpose.cooldown_us:
        # First: one that goes between two of these questions is then seen by a later one.
        if await letters.is_under_way(uow, letter, now_us - CLAIM_US):
            return LetterClaim.LATER
        if await letters.has_sent_since(uow, letter, now_us - purpose.cooldown_us):
            return LetterClaim.NEVER
    if purpose.most_a_day is not None:
        today = await letters.sent_since(uow, letter, mailbox, now_us - DAY_US)
        if today >= purpose.most_a_day:
            return LetterClaim.NEVER
    life = purpose.token_us
    hash_ = cmd.token_hash if life else None
    await letters.claim(uow, letter.id, mailbox, hash_, now_us + life)
    return claimed


async def _may_go(view: View, claimed: ClaimedLetter) -> bool:
    """Whether the letter is for whoever reads that mailbox."""
    purpose, user = claimed.letter.purpose, claimed.user
    if purpose is Purpose.VERIFICATION:
        return not user.email_verified and not user.is_disputed
    if purpose is Purpose.NEW_EMAIL:
        owner = await users.find_by_email(view, claimed.to)
        return owner is None or owner.id == user.id or owner.yields_address
    if purpose is Purpose.WITHOUT_CODE and await letters.has_signed_in_since(
        view, user.id, claimed.letter.created_at
    ):
        return False
    return bool(purpose.token_us) or user.email_verified


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
    return (await letter_of(view, token_hash, purpose))[1]


async def letter_of(view: View, token_hash: bytes, purpose: Purpose) -> tuple[Letter, User]:
    """The same with the letter that brought it. Raises ``TokenInvalid`` or ``TokenExpired``."""
    found = await letters.letter_of_token(view, token_hash)
    if found is None:
        raise TokenInvalid()
    letter, user = found
    check_token(letter, purpose, view.now_us).unwrap()
    return letter, user


async def letter_of_any_token(
    view: View, token_hash: bytes, purpose: Purpose
) -> tuple[Letter, User] | None:
    """The letter that brought a token for that purpose, be it used or expired, and its user."""
    found = await letters.letter_of_token(view, token_hash)
    return found if found is not None and found[0].purpose is purpose else None


def already_confirmed() -> TokenInvalid:
    """What a second click is told on a link that has proved an address."""
    return TokenInvalid(
        "This e-mail address is confirmed already. You can sign in.",
        extra={"already_confirmed": True},
    )


@dataclass(frozen=True, slots=True)
class VerifyEmail:
    """Prove an address by the token that was sent there."""

    action: ClassVar[str] = "user.verify_email"
    token_hash: bytes


async def verify_email(uow: UnitOfWork, cmd: VerifyEmail) -> User:
    """Mark the user's address as verified, and forget who tried to sign in before that.

    Raises ``TokenInvalid`` or ``TokenExpired``.
    """
    user = await user_to_verify(uow, cmd.token_hash)
    await letters.invalidate_tokens(uow, user.id, Purpose.VERIFICATION)
    await failures.forget_failures(uow, failures_key(email_key(user.email)))
    return await _proved(uow, user, {})


async def user_to_verify(view: View, token_hash: bytes) -> User:
    """The user who proves their address by that token.

    Raises ``TokenInvalid`` or ``TokenExpired``.
    """
    try:
        return await user_of_token(view, token_hash, Purpose.VERIFICATION)
    except TokenInvalid:
        used = await letter_of_any_token(view, token_hash, Purpose.VERIFICATION)
        if used is None or not used[1].email_verified:
            raise
        raise already_confirmed() from None


@dataclass(frozen=True, slots=True)
class ResetPassword:
    """Set a new password by the token of a letter; ``password_hash`` is of one that is good."""

    action: ClassVar[str] = "user.reset_password"
    token_hash: bytes
    password_hash: str
    device_info: str | None


async def reset_password(uow: UnitOfWork, cmd: ResetPassword) -> User:
    """Store it, end all sessions and changes of the address that were asked for, and forget every
    failure and every device.

    Whoever has read the letter has verified the address as well. Where that is for the first time,
    whoever made the login need not be them, so its factors go, too; any other keeps them, and the
    letter tells which there are and how to remove them. Raises ``TokenInvalid`` or
    ``TokenExpired``; of two who use one token at the same moment the second is refused.
    """
    user = await user_of_token(uow, cmd.token_hash, Purpose.RESET)
    for purpose in (Purpose.RESET, Purpose.VERIFICATION, Purpose.NEW_EMAIL):
        await letters.invalidate_tokens(uow, user.id, purpose)
    if not user.email_verified:
        if await factors.has_any(uow, user.id):
            await users.note_factors_given_up(uow, user.id, given_up=True)
        await factors.remove_totp(uow, user.id)
        await factors.remove_passkeys(uow, user.id)
    removal = None
    if await factors.has_any(uow, user.id):
        removal = (await new_letter(uow, Purpose.FACTORS, user.id)).id
    changed = await renew_password(uow, user, cmd.password_hash, EndReason.PASSWORD_RESET)
    await uow.record(PasswordChanged(user.id, cmd.device_info, removal))
    return changed


async def renew_password(uow: UnitOfWork, user: User, password_hash: str, why: EndReason) -> User:
    """Set a password for whoever has read a letter to the address of a user."""
    changed = await _proved(uow, user, {"password_hash": password_hash})
    await sessions.end_sessions(uow, why, user.id)
    await failures.forget_all_failures(uow, user.id, failures_key(email_key(user.email)))
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

    Raises ``TokenInvalid`` or ``TokenExpired``.
    """
    user = await user_of_token(uow, cmd.token_hash, Purpose.FACTORS)
    await take_factors(uow, user.id, SecurityChange.FACTORS_GIVEN_UP)
    await sessions.end_sessions(uow, EndReason.FACTORS_CHANGED, user.id)
    changed = await users.change_user(uow, user.id, {"known_since": uow.now_us})
    assert changed is not None
    return changed


async def take_factors(uow: UnitOfWork, user_id: UUID, told: SecurityChange) -> None:
    """What a letter may do to factors; the user is told, and other links to it are good no more.

    A passkey is a way in, so it goes at once. An app is asked for beside the password: whoever can
    read the letters of somebody else is kept out by it for ``TOTP_NOTICE_US``, and for good once
    its owner has used it meanwhile. Where factors are demanded, the password alone sets up no new
    ones.
    """
    await letters.invalidate_tokens(uow, user_id, Purpose.FACTORS)
    await users.note_factors_given_up(uow, user_id, given_up=True)
    await factors.remove_passkeys(uow, user_id)
    await factors.end_totp(uow, user_id, uow.now_us + TOTP_NOTICE_US)
    await uow.record(SecurityChanged(user_id, told))


@dataclass(frozen=True, slots=True)
class PruneLetters:
    """Forget letters whose tokens are long dead, ``most`` at a time."""

    action: ClassVar[str] = "letter.prune"
    most: int = 1_000


async def prune_letters(uow: UnitOfWork, cmd: PruneLetters) -> int:
    """How many were forgotten; changes of addresses go once nothing can confirm or undo them."""
    await emails.prune_changes(uow)
    return await letters.prune_letters(uow, cmd.most)
