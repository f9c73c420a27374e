"""A auth with cheap passwords, as the composition root makes the real one, and who comes to it."""

import asyncio
from collections.abc import Awaitable
from typing import Any
from uuid import UUID

import pytest

from guilder.core.actor import Actor
from guilder.core.clock import Clock, FixedClock
from guilder.core.errors import Unauthenticated
from guilder.core.permissions import Role
from guilder.core.ports import PasswordHasher
from guilder.db.run import Runner
from guilder.domains.identity.commands.refusals import RefuseSignIn, refuse
from guilder.domains.identity.errors import InvalidCredentials
from guilder.domains.identity.queries import get_factors, session_user
from guilder.domains.identity.repository.sign_in import SessionFacts
from guilder.domains.identity.rules.factors import Factors
from guilder.domains.identity.rules.letters import Purpose
from guilder.domains.identity.services.authentication import AuthenticationService, SignedIn
from guilder.domains.identity.services.factors import SecondFactorService
from guilder.domains.identity.services.passkeys import PasskeyService
from guilder.infra.security.crypto import AesGcmSealer
from guilder.infra.security.geoip import no_place
from guilder.infra.security.macs import SecretMac
from guilder.infra.security.passkeys import WebAuthnRelyingParty
from guilder.infra.security.passwords import Argon2Passwords, common_passwords
from guilder.infra.security.qr import qr_svg
from guilder.infra.security.tokens import AccessTokens, RefreshTokens
from tests.domains.identity.codes import code_at
from tests.support.constants import CALLER, EMAIL, PASSWORD

SECRET = b"s" * 32
ADDRESS = "https://bank.test"
WRONG = "000000"


def cheap_passwords() -> Argon2Passwords:
    return Argon2Passwords(SECRET, memory_kib=64, time_cost=1)


def gate_of(
    runner: Runner,
    clock: Clock,
    passwords: PasswordHasher | None = None,
    secret: bytes = SECRET,
    older: tuple[bytes, ...] = (),
) -> AuthenticationService:
    keys = (secret, *older)
    return AuthenticationService(
        runner,
        passwords or cheap_passwords(),
        AccessTokens(secret, clock),
        RefreshTokens(secret),
        SecondFactorService(runner, AesGcmSealer(keys), SecretMac(keys, "codes"), "Bank", qr_svg),
        PasskeyService(runner, WebAuthnRelyingParty("bank.test", [ADDRESS], "Bank", secret, clock)),
        SecretMac(keys, "sign-ups"),
        common_passwords=common_passwords(),
        place_of=no_place,
    )


def actor_of(who: SignedIn) -> Actor:
    return Actor(who.user.id, Role.USER, "request-3", "192.0.2.1", who.session.id)


async def enrol(
    auth: AuthenticationService, who: SignedIn, clock: FixedClock
) -> tuple[bytes, list[str]]:
    """An app that counts, whose last used step is of now, and its recovery codes."""
    secret = (await auth.factors.enrol(actor_of(who))).secret
    codes = await auth.factors.confirm(code_at(secret, clock), actor_of(who))
    return secret, codes


async def log_in(
    auth: AuthenticationService,
    code: str | None = None,
    actor: Actor = CALLER,
    device: str = "Browser",
) -> SignedIn:
    return await auth.log_in(EMAIL, PASSWORD, actor, device, code)


async def factors_of(runner: Runner, who: SignedIn) -> Factors:
    return await runner.view(lambda view: get_factors(view, actor_of(who)))


async def whose(runner: Runner, who: SignedIn) -> SessionFacts:
    """Whose session it is by its first token, and when they last proved themselves."""
    one = who.session
    return await runner.view(lambda v: session_user(v, one.id, who.user.id, one.version))


async def is_good(runner: Runner, who: SignedIn) -> bool:
    try:
        await runner.view(
            lambda view: session_user(view, who.session.id, who.user.id, who.session.version)
        )
    except Unauthenticated:
        return False
    return True


async def guess_wrongly(
    runner: Runner,
    key: bytes | None,
    user_id: UUID | None = None,
    letter: Purpose | None = None,
) -> None:
    """Give a wrong password once more, which is counted under the key; without one it is told."""
    wrong = RefuseSignIn(InvalidCredentials(), user_id, key, letter)
    with pytest.raises(InvalidCredentials):
        await runner.refuse(refuse, wrong, CALLER)


async def outcomes(*work: Awaitable[Any]) -> list[str]:
    done = await asyncio.gather(*work, return_exceptions=True)
    return sorted(type(one).__name__ for one in done)
