"""Letters to people: what happened in identity, told by mail."""

import asyncio
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote
from uuid import UUID

from guilder.core.actor import SYSTEM
from guilder.core.clock import DAY_US, HOUR_US, MINUTE_US, to_datetime
from guilder.core.events import Delivery, DeliveryFailed
from guilder.core.letters import LetterTemplate, LetterWriter
from guilder.core.ports import Mail, Mailer
from guilder.core.tokens import LetterTokenSource, opaque_hash
from guilder.db.run import Runner
from guilder.domains.identity import queries
from guilder.domains.identity.commands.letters import (
    ClaimedLetter,
    LetterClaim,
    MarkLetterSent,
    SendLetter,
    mark_letter_sent,
    send_letter,
)
from guilder.domains.identity.events import (
    LetterRequested,
    LoginClosed,
    NewDeviceSignedIn,
    PasswordChanged,
    SecurityChanged,
)
from guilder.domains.identity.repository import letters, sessions
from guilder.domains.identity.rules.devices import device_name
from guilder.domains.identity.rules.factors import Factors
from guilder.domains.identity.rules.letters import Letter, Purpose
from guilder.domains.identity.rules.lockout import LOCK_US
from guilder.domains.identity.rules.users import masked

_PACKAGE: Final = "guilder.domains.identity"
_MOST_TOLD: Final = 4
MAX_LINK: Final = 500
WAITS: Final = 10
WAIT_SECONDS: Final = 0.5
"""How often and how long a letter waits for another one that is under way to the same user."""


def _letter(name: str, *values: str) -> LetterTemplate:
    return LetterTemplate(_PACKAGE, name, frozenset(values))


VERIFY_EMAIL: Final = _letter("verify_email", "hours")
RESET_PASSWORD: Final = _letter("reset_password", "minutes")
ACCOUNT_LOCKED: Final = _letter("account_locked", "until")
CODES_GUESSED: Final = _letter("codes_guessed", "until")
SESSION_GUESSED: Final = _letter("session_guessed", "until")
PASSWORD_RESET: Final = _letter("password_reset", "at", "device", "factors", "hours")
LOGIN_EXISTS: Final = _letter("login_exists")
PASSWORD_GIVEN: Final = _letter("password_given", "at")
NEW_EMAIL: Final = _letter("new_email", "hours")
EMAIL_CHANGED: Final = _letter("email_changed", "email", "days")
LOGIN_CLOSED: Final = _letter("login_closed", "at")
SECURITY_CHANGED: Final = _letter("security_changed", "said", "at", "device")
PASSWORD_CHANGED: Final = _letter("password_changed", "at", "device")
NEW_SIGN_IN: Final = _letter("new_sign_in", "at", "device", "ip_address")
LETTERS: Final = (
    VERIFY_EMAIL,
    RESET_PASSWORD,
    ACCOUNT_LOCKED,
    CODES_GUESSED,
    SESSION_GUESSED,
    LOGIN_EXISTS,
    PASSWORD_GIVEN,
    NEW_EMAIL,
    EMAIL_CHANGED,
    LOGIN_CLOSED,
    SECURITY_CHANGED,
    PASSWORD_CHANGED,
    PASSWORD_RESET,
    NEW_SIGN_IN,
)


_LOCKS: Final = {
    Purpose.LOCK: ACCOUNT_LOCKED,
    Purpose.CODES: CODES_GUESSED,
    Purpose.SESSION: SESSION_GUESSED,
}


@dataclass(frozen=True, slots=True)
class LetterSender:
    """Writes the letter that an event calls for, if any, and sends it.

    Called again for the same delivery it sends the same letter. ``address`` is the bank's own.
    """

    runner: Runner
    tokens: LetterTokenSource
    writer: LetterWriter
    mailer: Mailer
    address: str

    async def asked(self, event: LetterRequested, delivery: Delivery) -> None:
        """Send the letter that somebody has asked for, unless it should not go."""
        token = self.tokens.token(event.letter_id)
        claimed = await self._claim(event.letter_id, token)
        if claimed is not None:
            await self._send_claimed(claimed.letter, self._asked(claimed, delivery.key, token))

    async def password_changed(self, event: PasswordChanged, delivery: Delivery) -> None:
        """Tell the user that there is another password, and how to remove factors that a reset has
        left.
        """
        at, device = _moment(delivery.created_at), device_name(event.device_info)
        if event.letter_id is not None:
            token = self.tokens.token(event.letter_id)
            if (claimed := await self._claim(event.letter_id, token)) is None:
                return
            factors = await self.runner.view(queries.factors_of, claimed.user.id)
            mail = self.writer.compose(
                PASSWORD_RESET, claimed.to, delivery.key,
                link=f"{self.address}/remove-factors#token={token}",
                at=at, device=device, factors=_described(factors),
                hours=claimed.letter.purpose.token_us // HOUR_US,
            )  # fmt: skip
            await self._send_claimed(claimed.letter, mail)
            return
        owner = await self.runner.view(queries.mailable_user, event.user_id)
        if owner is not None:
            mail = self.writer.compose(
                PASSWORD_CHANGED, owner.email, delivery.key, link=self._reset_link,
                at=at, device=device,
            )  # fmt: skip
            await self.mailer.send(mail)

    async def _claim(self, letter_id: UUID, token: str) -> ClaimedLetter | None:
        """The letter and to whom it goes, None when none should.

        Another one that is under way is waited for. Raises ``DeliveryFailed`` after some seconds.
        """
        if not await self.runner.view(letters.is_to_somebody, letter_id):
            return None
        command = SendLetter(letter_id, opaque_hash(token))
        for _ in range(WAITS):
            found = await self.runner.run(send_letter, command, SYSTEM)
            if found is not LetterClaim.LATER:
                return found if isinstance(found, ClaimedLetter) else None
            await asyncio.sleep(WAIT_SECONDS)
        raise DeliveryFailed("another letter of the kind is under way")

    async def _send_claimed(self, letter: Letter, mail: Mail) -> None:
        await self.mailer.send(mail)
        await self.runner.run(mark_letter_sent, MarkLetterSent(letter.id), SYSTEM)

    async def security_changed(self, event: SecurityChanged, delivery: Delivery) -> None:
        """Tell the user of a change in how they sign in or what they may do."""
        user = await self.runner.view(queries.mailable_user, event.user_id)
        if user is None:
            return
        session = None
        if event.session_id is not None:
            session = await self.runner.view(sessions.session_of, user.id, event.session_id)
        mail = self.writer.compose(
            SECURITY_CHANGED, user.email, delivery.key, link=self._reset_link,
            said=event.change.value.format(role=user.role.value),
            at=_moment(delivery.created_at),
            device="" if session is None else device_name(session.device_info),
        )  # fmt: skip
        await self.mailer.send(mail)

    async def login_closed(self, event: LoginClosed, delivery: Delivery) -> None:
        """Tell the user that their login was closed."""
        user = await self.runner.view(queries.closed_user, event.user_id)
        if user is not None:
            mail = self.writer.compose(
                LOGIN_CLOSED, user.email, delivery.key, link=self.address,
                at=_moment(delivery.created_at),
            )  # fmt: skip
            await self.mailer.send(mail)

    async def signed_in_anew(self, event: NewDeviceSignedIn, delivery: Delivery) -> None:
        """Tell the user of a sign-in on a new device, but not of the very first."""
        user = await self.runner.view(queries.mailable_user, event.user_id)
        session = await self.runner.view(
            queries.session_if_not_first, event.user_id, event.session_id
        )
        if user is None or session is None:
            return
        mail = self.writer.compose(
            NEW_SIGN_IN, user.email, delivery.key, link=self._reset_link,
            at=_moment(session.created_at), device=device_name(session.device_info),
            ip_address=session.ip_address,
        )  # fmt: skip
        await self.mailer.send(mail)

    def _asked(self, claimed: ClaimedLetter, key: str, token: str) -> Mail:
        compose, reset, to = self.writer.compose, self._reset_link, claimed.to
        purpose, change = claimed.letter.purpose, claimed.change
        hours = purpose.token_us // HOUR_US
        match purpose:
            case Purpose.VERIFICATION:
                link = f"{self.address}/verify-email#token={token}"
                return compose(VERIFY_EMAIL, to, key, link=link, hours=hours)
            case Purpose.RESET:
                link, minutes = _with_password(reset, token, to), purpose.token_us // MINUTE_US
                return compose(RESET_PASSWORD, to, key, link=link, minutes=minutes)
            case Purpose.LOCK | Purpose.CODES | Purpose.SESSION:
                until = _moment(claimed.letter.created_at + LOCK_US)
                return compose(_LOCKS[purpose], to, key, link=reset, until=until)
            case Purpose.WITHOUT_CODE:
                at = _moment(claimed.letter.created_at)
                return compose(PASSWORD_GIVEN, to, key, link=reset, at=at)
            case Purpose.KNOWN:
                return compose(LOGIN_EXISTS, to, key, link=reset)
            case Purpose.NEW_EMAIL:
                link = f"{self.address}/confirm-email#token={token}"
                return compose(NEW_EMAIL, to, key, link=link, hours=hours)
            case Purpose.UNDO_EMAIL:
                assert change is not None
                link = _with_password(f"{self.address}/undo-email", token, to)
                days = purpose.token_us // DAY_US
                new = masked(change.new_email)
                return compose(EMAIL_CHANGED, to, key, link=link, email=new, days=days)
            case Purpose.FACTORS:
                raise AssertionError("goes with the letter about the reset")

    @property
    def _reset_link(self) -> str:
        return f"{self.address}/reset-password"


def _with_password(page: str, token: str, email: str) -> str:
    """The link to a page that sets a password, with the address for which a browser keeps it."""
    link = f"{page}#token={token}&email={quote(email, safe='')}"
    # Without the address, where that is too long, password managers only ask one question more.
    return link if len(link) <= MAX_LINK else f"{page}#token={token}"


def _described(factors: Factors) -> str:
    """Which factors, by what nobody could choose: the names of passkeys may be a stranger's."""
    made = [("passkey", one.created_at) for one in factors.passkeys]
    if factors.totp is not None and factors.totp.confirmed_at is not None:
        made.insert(0, ("authenticator app", factors.totp.confirmed_at))
    told = [f"{kind} added on {_day(at)}" for kind, at in made[:_MOST_TOLD]]
    rest = len(made) - len(told)
    return ", ".join(told) + (f", and {rest} more" if rest else "")


def _day(instant: int) -> str:
    return to_datetime(instant).strftime("%-d %B %Y")


def _moment(instant: int) -> str:
    return to_datetime(instant).strftime("%-d %B %Y, %H:%M UTC")
