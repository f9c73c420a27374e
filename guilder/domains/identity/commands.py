"""The writes of identity, and the login, which is a read and a write around the password check.

Passwords are hashed before a transaction begins and checked between two: argon2 takes longer than
any of them.
"""

from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

from guilder.core.actor import Actor, Role
from guilder.core.ids import uuid7
from guilder.core.ports import PasswordHasher
from guilder.db.run import Runner
from guilder.db.unit_of_work import UnitOfWork
from guilder.domains.identity import repository
from guilder.domains.identity.errors import InvalidCredentials
from guilder.domains.identity.rules import (
    SESSION_US,
    Session,
    User,
    check_password,
    normal_password,
)
from guilder.infra.tokens import AccessTokens, new_opaque_token


@dataclass(frozen=True, slots=True)
class CreateUser:
    """Make a login. ``password_hash`` is of a password that keeps the policy."""

    action: ClassVar[str] = "user.create"
    email: str
    password_hash: str
    full_name: str | None = None
    role: Role = Role.USER


async def create_user(uow: UnitOfWork, cmd: CreateUser) -> User:
    """Store the user; refuses an address that is taken."""
    user = User(
        uuid7(uow.now_us),
        cmd.email,
        cmd.full_name,
        cmd.role,
        is_active=True,
        email_verified=False,
        created_at=uow.now_us,
    )
    await repository.insert_user(uow, user, cmd.password_hash)
    return user


@dataclass(frozen=True, slots=True)
class OpenSession:
    """Sign in a user whose password has been checked."""

    action: ClassVar[str] = "session.open"
    user_id: UUID
    refresh_hash: bytes
    device_info: str | None = None


async def open_session(uow: UnitOfWork, cmd: OpenSession) -> Session:
    """Store the session; refuses when the user has been switched off meanwhile."""
    if await repository.find_active_user(uow, cmd.user_id) is None:
        raise InvalidCredentials()
    session = Session(
        uuid7(uow.now_us),
        cmd.user_id,
        cmd.device_info,
        uow.actor.ip_address,
        uow.now_us,
        uow.now_us + SESSION_US,
    )
    await repository.insert_session(uow, session, cmd.refresh_hash)
    return session


@dataclass(frozen=True, slots=True)
class SignUp:
    """Make a login and sign it in, both or neither."""

    action: ClassVar[str] = "user.sign_up"
    user: CreateUser
    refresh_hash: bytes
    device_info: str | None = None


async def sign_up(uow: UnitOfWork, cmd: SignUp) -> tuple[User, Session]:
    """Store user and session; refuses an address that is taken."""
    user = await create_user(uow, cmd.user)
    session = await open_session(uow, OpenSession(user.id, cmd.refresh_hash, cmd.device_info))
    return user, session


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A new session with the two tokens that prove it; only the client keeps them."""

    user: User
    session: Session
    access_token: str
    refresh_token: str


class Gate:
    """Lets people in: what of identity needs a password hasher or a signing key."""

    def __init__(self, runner: Runner, passwords: PasswordHasher, tokens: AccessTokens) -> None:
        self._runner = runner
        self._passwords = passwords
        self._tokens = tokens

    async def hashed(self, password: str, email: str) -> str:
        """The hash of a new password; refuses one that breaks the policy."""
        return await self._passwords.hash(check_password(password, email).unwrap())

    async def sign_up(
        self, email: str, password: str, full_name: str | None, actor: Actor, device: str | None
    ) -> SignedIn:
        """Make a login and sign it in; refuses a weak password and an address that is taken."""
        user = CreateUser(email, await self.hashed(password, email), full_name)
        refresh_token, refresh_hash = new_opaque_token()
        command = SignUp(user, refresh_hash, device)
        made, session = await self._runner.run(sign_up, command, actor)
        return self._signed_in(made, session, refresh_token)

    async def log_in(self, email: str, password: str, actor: Actor, device: str | None) -> SignedIn:
        """Open a session; refuses all that is wrong with the same words and after the same work."""
        user = await self._checked(email, password)
        refresh_token, refresh_hash = new_opaque_token()
        command = OpenSession(user.id, refresh_hash, device)
        session = await self._runner.run(open_session, command, actor)
        return self._signed_in(user, session, refresh_token)

    async def _checked(self, email: str, password: str) -> User:
        """The user with this address and password, who may come in."""
        found = await self._runner.view(lambda view: repository.find_by_email(view, email))
        user, encoded = found or (None, None)
        fits = await self._passwords.verify(encoded, normal_password(password))
        if user is None or not fits or not user.is_active:
            raise InvalidCredentials()
        return user

    def _signed_in(self, user: User, session: Session, refresh_token: str) -> SignedIn:
        access_token = self._tokens.issue(user.id, session.id)
        return SignedIn(user, session, access_token, refresh_token)
