"""Authentication: what of identity needs a password hasher or a signing key.

Passwords are hashed before a transaction begins and checked between two: argon2 takes longer than
any of them.
"""

from collections.abc import Callable, Collection, Container, Coroutine, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, Concatenate, Final, Never
from uuid import UUID

from guilder.core.actor import Actor
from guilder.core.errors import Refusal, Unauthenticated
from guilder.core.ports import Macs, PasswordHasher
from guilder.core.tokens import AccessTokenIssuer, RefreshTokenChain, new_opaque_token, opaque_hash
from guilder.db.run import Runner
from guilder.domains.identity.commands.emails import (
    UndoEmailChange,
    change_of_token,
    undo_email_change,
)
from guilder.domains.identity.commands.letters import (
    ResetPassword,
    reset_password,
    user_of_token,
)
from guilder.domains.identity.commands.refusals import RefuseSignIn, RefuseStepUp, refuse
from guilder.domains.identity.commands.sessions import (
    EndFamily,
    OpenSession,
    RefreshSession,
    RevokeRefreshToken,
    SignUp,
    end_family,
    open_session,
    refresh_session,
    refreshable,
    revoke_refresh_token,
    sign_up,
)
from guilder.domains.identity.commands.step_up import StepUp, step_up
from guilder.domains.identity.commands.users import (
    ChangePassword,
    CreateUser,
    RegisterUser,
    change_password,
)
from guilder.domains.identity.errors import (
    EmailUnverified,
    InvalidCredentials,
    InvalidPasskey,
    RefreshInvalid,
    RefreshReused,
    SecondFactorRequired,
    WrongFactor,
    WrongPassword,
)
from guilder.domains.identity.repository import sign_in, sign_ups, users
from guilder.domains.identity.repository.factors import active_totp
from guilder.domains.identity.repository.sessions import has_refresh_token
from guilder.domains.identity.repository.sign_in import LoginFacts
from guilder.domains.identity.rules.devices import client_device
from guilder.domains.identity.rules.letters import Purpose
from guilder.domains.identity.rules.lockout import Locked, failures_key
from guilder.domains.identity.rules.passwords import check_password, normal_password
from guilder.domains.identity.rules.sessions import DEFAULT_LIFE, Session, SessionLife
from guilder.domains.identity.rules.users import SIGN_UP_US, User, email_key
from guilder.domains.identity.services.factors import Checked, SecondFactorService
from guilder.domains.identity.services.lockout import AttemptGuard, Guess
from guilder.domains.identity.services.passkeys import PasskeyService

SUCCEEDED: Final = "succeeded"
"""How an attempt to sign in ends that is not refused."""


def ignore_outcome(_outcome: str) -> None:
    """The hook that counts nothing."""


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A session with the two tokens that prove it; only the client keeps them."""

    user: User
    session: Session
    access_token: str
    refresh_token: str


def _attempt[**P](
    signing_in: Callable[Concatenate["AuthenticationService", P], Coroutine[Any, Any, SignedIn]],
) -> Callable[Concatenate["AuthenticationService", P], Coroutine[Any, Any, SignedIn]]:
    """Tell the service's ``on_sign_in`` how an attempt to sign in ends: the code, or succeeded."""

    @wraps(signing_in)
    async def told(self: "AuthenticationService", /, *args: P.args, **kwargs: P.kwargs) -> SignedIn:
        try:
            signed_in = await signing_in(self, *args, **kwargs)
        except Refusal as refusal:
            self.on_sign_in(refusal.code)
            raise
        self.on_sign_in(SUCCEEDED)
        return signed_in

    return told


class AuthenticationService:
    """Signs people up and in, renews their tokens, changes their passwords."""

    def __init__(
        self,
        runner: Runner,
        passwords: PasswordHasher,
        access_tokens: AccessTokenIssuer,
        refresh_tokens: RefreshTokenChain,
        factors: SecondFactorService,
        passkeys: PasskeyService,
        sign_up_macs: Macs,
        *,
        common_passwords: Container[str],
        bank_names: Collection[str] = (),
        requires_verification: bool = False,
        place_of: Callable[[str], str | None],
        life: SessionLife = DEFAULT_LIFE,
        on_sign_in: Callable[[str], None] = ignore_outcome,
    ) -> None:
        self.factors = factors
        self.passkeys = passkeys
        self._runner = runner
        self._passwords = passwords
        self._access_tokens = access_tokens
        self._refresh_tokens = refresh_tokens
        self._sign_up_macs = sign_up_macs
        self.requires_verification = requires_verification
        self._common_passwords = common_passwords
        self._bank_names = bank_names
        self._place_of = place_of
        self._life = life
        self.on_sign_in = on_sign_in
        self._guard = AttemptGuard(runner)

    async def hash_password(self, password: str, email: str, pointer: str = "/password") -> str:
        """The hash of a new password. Raises ``WeakPassword``."""
        checked = check_password(password, email, self._common_passwords, pointer, self._bank_names)
        return await self._passwords.hash(checked.unwrap())

    async def registration(self, email: str, password: str, full_name: str | None) -> RegisterUser:
        """What signs somebody up where an address must be verified first.

        Raises ``WeakPassword``.
        """
        encoded = await self.hash_password(password, email)
        mac = self._sign_up_macs.of(_sign_up(email, password))[0]
        return RegisterUser(email, encoded, full_name, repeat_mac=mac)

    async def sign_up(
        self, email: str, password: str, full_name: str | None, actor: Actor, device: str | None
    ) -> SignedIn:
        """Create a user and sign them in. Raises ``WeakPassword`` or ``EmailTaken``.

        Not for where an address must be verified first.
        """
        assert not self.requires_verification
        user = CreateUser(email, await self.hash_password(password, email), full_name)
        refresh_token, refresh_hash = new_opaque_token()
        location = self._place_of(actor.ip_address)
        command = SignUp(user, refresh_hash, device, location, self._life)
        made, session = await self._runner.run(sign_up, command, actor)
        return self._signed_in(made, session, refresh_token)

    @_attempt
    async def log_in(
        self,
        email: str,
        password: str,
        actor: Actor,
        device: str | None,
        code: str | None = None,
    ) -> SignedIn:
        """Open a session, after the same work and with the same words whatever is wrong.

        Raises ``InvalidCredentials``; after too many wrong passwords ``AccountLocked``, whether or
        not there is such a user; and, only after the right password, ``SecondFactorRequired``,
        ``InvalidSecondFactor`` or ``EmailUnverified``.
        """
        here = client_device(actor.ip_address, device)
        found = await self._runner.view(sign_in.find_for_login, email, here)
        known = found is not None and found.is_known_device
        place = (here.network, here.kind) if known else ()
        key = failures_key(email_key(email), *place)
        user_id = None if found is None else found.user.id
        letter = None if known else Purpose.LOCK
        guess = Guess(key, Locked.SIGN_IN, actor, user_id, letter)
        async with self._guard.attempt(guess):
            fits = await self._fits(None if found is None else found.password_hash, password)
            if found is None or not fits or not self._may_sign_in(found.user):
                signed_up = found.user if found is not None and fits else None
                await self._guard.refuse(guess, await self._reason(email, password, signed_up))
        second = await self._second(found, code, actor, place)
        refresh_token, refresh_hash = new_opaque_token()
        command = OpenSession(
            found.user.id,
            refresh_hash,
            found.password_hash,
            device,
            better_hash=await self._rehashed(found, password),
            failures_keys=(key,) if second is None else (key, second.failures_key),
            factor=None if second is None else second.factor,
            is_known_device=found.is_known_device,
            location=self._place_of(actor.ip_address),
            life=self._life,
        )
        session = await self._runner.run(open_session, command, actor)
        return self._signed_in(found.user, session, refresh_token)

    async def _second(
        self, found: LoginFacts, code: str | None, actor: Actor, place: tuple[str, ...]
    ) -> Checked | None:
        """The second factor beside the right password, None for a user without one.

        Raises ``SecondFactorRequired`` or ``InvalidSecondFactor``.
        """
        if found.totp is None:
            return None
        if code is None:
            refused = RefuseSignIn(
                SecondFactorRequired(), found.user.id, letter=Purpose.WITHOUT_CODE
            )
            await self._runner.refuse(refuse, refused, actor)
        return await self.factors.check(found.totp, code, actor, *place)

    @_attempt
    async def log_in_with_passkey(
        self, credential: Mapping[str, Any], actor: Actor, device: str | None
    ) -> SignedIn:
        """Open a session with a challenge that a passkey has signed, which is two factors.

        Raises ``InvalidPasskey``, whatever is wrong with it, or ``EmailUnverified``.
        """
        proved = await self.passkeys.check(credential)
        user = None
        if proved is not None:
            user_id = proved[0]
            user = await self._runner.view(users.find_active_user, user_id)
        if proved is None or user is None:
            refused = RefuseSignIn(InvalidPasskey(), None if proved is None else proved[0])
            await self._runner.refuse(refuse, refused, actor)
        if not self._may_sign_in(user):
            await self._runner.refuse(refuse, RefuseSignIn(EmailUnverified(), user.id), actor)
        here = client_device(actor.ip_address, device)
        known = await self._runner.view(sign_in.is_known_device, user.id, here)
        refresh_token, refresh_hash = new_opaque_token()
        command = OpenSession(
            user.id,
            refresh_hash,
            None,
            device,
            factor=proved[1],
            is_known_device=known,
            location=self._place_of(actor.ip_address),
            life=self._life,
        )
        session = await self._runner.run(open_session, command, actor)
        return self._signed_in(user, session, refresh_token)

    async def step_up_with_password(self, password: str, actor: Actor) -> int:
        """Step the actor's session up; returns until when that counts, in microseconds since 1970.

        Raises ``WrongPassword``, ``AccountLocked``, or ``FactorRequired`` for a user with an
        authenticator app.
        """
        _user, encoded, key = await self._checked_password(password, actor, Locked.STEP_UP)
        return await self._runner.run(step_up, StepUp(encoded, failures_key=key), actor)

    async def step_up_with_code(self, code: str, actor: Actor) -> int:
        """The same with a code of the app or a recovery code.

        Raises ``WrongFactor``, ``AccountLocked``, or ``Unauthenticated`` without a session.
        """
        user_id = actor.user_id
        if user_id is None or actor.session_id is None:
            raise Unauthenticated()
        totp = await self._runner.view(active_totp, user_id)
        if totp is None:
            await self._refuse_step_up(actor)
        checked = await self.factors.check(totp, code, actor, str(actor.session_id))
        command = StepUp(factor=checked.factor, failures_key=checked.failures_key)
        return await self._runner.run(step_up, command, actor)

    async def step_up_with_passkey(self, credential: Mapping[str, Any], actor: Actor) -> int:
        """The same with a passkey. Raises ``WrongFactor`` unless it is the actor's."""
        proved = await self.passkeys.check(credential)
        if proved is None:
            await self._refuse_step_up(actor)
        return await self._runner.run(step_up, StepUp(factor=proved[1]), actor)

    async def refresh(self, refresh_token: str, actor: Actor) -> SignedIn:
        """The next pair of tokens. Raises ``RefreshInvalid`` or ``RefreshReused``.

        A token that was used before ends its session, unless that was a moment ago and nobody has
        used its successor: then the same pair is returned.
        """
        salt = self._refresh_tokens.new_salt()
        successor = opaque_hash(await self._successor(refresh_token, salt))
        command = RefreshSession(opaque_hash(refresh_token), successor, salt, self._life)
        await self._runner.view(refreshable, command)  # a dead one leaves no row: strangers may ask
        try:
            done = await self._runner.run(refresh_session, command, actor)
        except RefreshReused as reused:
            family = EndFamily(reused.session_id, reused.user_id)
            await self._runner.run(end_family, family, actor)
            raise
        next_token = await self._successor(refresh_token, done.salt)
        access_token = self._access_tokens.issue(
            done.user.id,
            done.session.id,
            done.session.version,
            at_us=done.at_us,
            token_id=UUID(bytes=done.salt[:16]),
        )
        return SignedIn(done.user, done.session, access_token, next_token)

    async def revoke(self, refresh_token: str, actor: Actor) -> UUID | None:
        """End the session of a refresh token and return its id; None for one that is unknown.

        What is unknown is not written down: strangers may ask.
        """
        hash_ = opaque_hash(refresh_token)
        if not await self._runner.view(has_refresh_token, hash_):
            return None
        session = await self._runner.run(revoke_refresh_token, RevokeRefreshToken(hash_), actor)
        return None if session is None else session.id

    async def change_password(
        self, present: str, new: str, actor: Actor, device: str | None = None
    ) -> None:
        """Change the actor's password and end their other sessions.

        Raises ``WrongPassword``, ``AccountLocked`` or ``WeakPassword``.
        """
        user, encoded, key = await self._checked_password(present, actor, Locked.CHANGE)
        new_hash = await self.hash_password(new, user.email, "/new_password")
        command = ChangePassword(encoded, new_hash, device, key)
        await self._runner.run(change_password, command, actor)

    async def _checked_password(
        self, password: str, actor: Actor, what: Locked
    ) -> tuple[User, str, bytes]:
        """The acting user, the hash that the password matches, and where wrong ones are counted:
        for each session apart, so that a thief of one does not bar the owner in another.

        Raises ``WrongPassword``, ``AccountLocked``, or ``Unauthenticated`` for an inactive user.
        """
        found = await self._runner.view(users.find_with_password, actor)
        if found is None:
            raise Unauthenticated()
        user, encoded = found
        key = failures_key("password of", str(user.id), str(actor.session_id))
        guess = Guess(key, what, actor, user.id, Purpose.SESSION)
        async with self._guard.attempt(guess):
            if not await self._fits(encoded, password):
                await self._guard.refuse(guess, WrongPassword())
        return user, encoded, key

    async def reset_password(self, token: str, new: str, actor: Actor, device: str | None) -> None:
        """Set a new password with the token of a letter; all sessions end.

        Raises ``TokenInvalid``, ``TokenExpired``, or ``WeakPassword``, which leaves the token
        unused.
        """
        hash_ = opaque_hash(token)
        user = await self._runner.view(user_of_token, hash_, Purpose.RESET)
        password_hash = await self.hash_password(new, user.email, "/new_password")
        command = ResetPassword(hash_, password_hash, device)
        await self._runner.run(reset_password, command, actor)

    async def undo_email_change(
        self, token: str, new: str, actor: Actor, device: str | None
    ) -> None:
        """Give a login its old address back, with a new password; all sessions end.

        Raises ``TokenInvalid``, ``TokenExpired``, ``EmailTaken``, or ``WeakPassword``, which leaves
        the token unused.
        """
        hash_ = opaque_hash(token)
        _user, change = await self._runner.view(change_of_token, hash_, Purpose.UNDO_EMAIL)
        password_hash = await self.hash_password(new, change.old_email, "/new_password")
        command = UndoEmailChange(hash_, password_hash, device)
        await self._runner.run(undo_email_change, command, actor)

    async def _successor(self, refresh_token: str, salt: bytes) -> str:
        """The successor of a refresh token. Raises ``RefreshInvalid`` when its key was revoked."""
        made = await self._refresh_tokens.successor(refresh_token, salt)
        if made is None:
            raise RefreshInvalid()
        return made

    async def _fits(self, encoded: str | None, password: str) -> bool:
        return await self._passwords.verify(encoded, normal_password(password), password)

    async def _rehashed(self, found: LoginFacts, password: str) -> str | None:
        """A better hash of a password that has just proved right, None when there is none."""
        if not self._passwords.is_outdated(found.password_hash):
            return None
        return await self._passwords.hash(normal_password(password))

    def _may_sign_in(self, user: User) -> bool:
        return user.is_active and (user.email_verified or not self.requires_verification)

    async def _reason(self, email: str, password: str, signed_up: User | None) -> Refusal:
        """Why nobody is let in; ``signed_up`` is the user whom the password fits.

        Who has signed up with this address and password is told to confirm the address, whether
        that has made a login or it had one: else signing up and in would tell that.
        """
        if not self.requires_verification:
            return InvalidCredentials()
        macs = self._sign_up_macs.of(_sign_up(email, password))
        awaited = await self._runner.view(sign_ups.was_repeated, macs)
        if signed_up is not None and signed_up.is_active:
            awaited |= signed_up.created_at > self._runner.clock.now_us() - SIGN_UP_US
        return EmailUnverified() if awaited else InvalidCredentials()

    async def _refuse_step_up(self, actor: Actor) -> Never:
        await self._runner.refuse(refuse, RefuseStepUp(WrongFactor(), actor.user_id), actor)

    def _signed_in(self, user: User, session: Session, refresh_token: str) -> SignedIn:
        access_token = self._access_tokens.issue(user.id, session.id, session.version)
        return SignedIn(user, session, access_token, refresh_token)


def _sign_up(email: str, password: str) -> str:
    """What two sign-ups have in common that are one."""
    return f"{email_key(email)}\0{normal_password(password)}"
