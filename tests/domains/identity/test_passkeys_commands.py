"""Passkeys on real databases: whose they are, used once, and closed to who is switched off."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select

from guilder.core.actor import Actor
from guilder.core.clock import DAY_US, FixedClock
from guilder.core.errors import Unauthenticated
from guilder.core.page import PageRequest
from guilder.core.permissions import Role
from guilder.db.engine import Database
from guilder.db.run import Runner
from guilder.domains.identity.commands.factors import RemoveFactors, remove_factors
from guilder.domains.identity.commands.passkeys import RemovePasskey, remove_passkey
from guilder.domains.identity.commands.sessions import OpenSession, open_session
from guilder.domains.identity.errors import (
    EmailUnverified,
    InvalidCredentials,
    InvalidPasskey,
    PasskeyNotFound,
    PasskeyTaken,
    TooManyPasskeys,
    WrongFactor,
)
from guilder.domains.identity.models import passkeys, used_challenges, users
from guilder.domains.identity.queries import get_factors, list_passkeys, session_user
from guilder.domains.identity.repository.sign_in import SessionFacts
from guilder.domains.identity.rules.factors import MAX_PASSKEYS, Passkey
from guilder.domains.identity.services.authentication import AuthenticationService, SignedIn
from tests.db import owner
from tests.domains.identity.codes import code_at
from tests.domains.identity.doors import ADDRESS, gate_of, whose
from tests.support.authenticator import Authenticator
from tests.support.constants import CALLER, EMAIL, PASSWORD, STRANGER


@pytest.fixture
def phone() -> Authenticator:
    return Authenticator(ADDRESS)


@pytest.fixture
async def ada(auth: AuthenticationService) -> SignedIn:
    return await auth.sign_up(EMAIL, PASSWORD, None, CALLER, "Browser")


@pytest.fixture
async def eve(auth: AuthenticationService) -> SignedIn:
    return await auth.sign_up("eve@b.test", PASSWORD, None, CALLER, "Browser")


def actor_of(who: SignedIn) -> Actor:
    return Actor(who.user.id, Role.USER, "request-3", "192.0.2.1", who.session.id)


async def make(
    auth: AuthenticationService, who: SignedIn, phone: Authenticator, name: str = "Phone"
) -> Passkey:
    options = await auth.passkeys.creation_options(actor_of(who))
    return await auth.passkeys.add(name, phone.create(options), actor_of(who))


def sign(auth: AuthenticationService, phone: Authenticator, **cheat: Any) -> dict[str, Any]:
    return phone.get(auth.passkeys.request_options(), **cheat)


async def come_in(auth: AuthenticationService, credential: dict[str, Any]) -> SignedIn:
    return await auth.log_in_with_passkey(credential, CALLER, "Browser")


async def test_who_has_a_passkey_comes_in_by_it_alone(
    auth: AuthenticationService,
    runner: Runner,
    clock: FixedClock,
    ada: SignedIn,
    phone: Authenticator,
) -> None:
    made = await make(auth, ada, phone)
    secret = (await auth.factors.enrol(actor_of(ada))).secret
    await auth.factors.confirm(code_at(secret, clock), actor_of(ada))
    clock.advance(seconds=60)
    signed_in = await come_in(auth, sign(auth, phone))
    assert signed_in.user == ada.user
    found = await runner.view(
        lambda v: session_user(v, signed_in.session.id, ada.user.id, signed_in.session.version)
    )
    assert found == SessionFacts(ada.user, clock.now_us(), clock.now_us())  # which is a proof, too
    (passkey,) = (await runner.view(lambda v: get_factors(v, actor_of(ada)))).passkeys
    assert (passkey.id, passkey.name) == (made.id, "Phone")
    assert (passkey.sign_count, passkey.last_used_at) == (2, clock.now_us())


@pytest.mark.parametrize(
    "cheat",
    [
        {"origin": "https://evil.test"}, {"host": "evil.test"}, {"flags": 1}, {"step": 0},
        {"user": b"e" * 16},
    ],
    ids=lambda cheat: next(iter(cheat)),
)  # fmt: skip
async def test_what_does_not_fit_is_refused_with_the_same_words(
    auth: AuthenticationService, ada: SignedIn, phone: Authenticator, cheat: dict[str, Any]
) -> None:
    await make(auth, ada, phone)
    with pytest.raises(InvalidPasskey):
        await come_in(auth, sign(auth, phone, **cheat))
    with pytest.raises(InvalidPasskey):
        await come_in(auth, {})
    unknown = Authenticator(ADDRESS)
    unknown.create(await auth.passkeys.creation_options(actor_of(ada)))  # never handed in
    with pytest.raises(InvalidPasskey):
        await come_in(auth, sign(auth, unknown))
    await come_in(auth, sign(auth, phone))


async def test_a_signature_is_good_once(
    auth: AuthenticationService, clock: FixedClock, runner: Runner, ada: SignedIn
) -> None:
    """Of a passkey that does not count, too: the challenge is used up."""
    synced = Authenticator(ADDRESS, counts=False)
    await make(auth, ada, synced)
    database = Database(runner.database.url)
    other = gate_of(Runner(database, clock), clock)  # another process
    credential = sign(auth, synced)
    done = await asyncio.gather(
        *(come_in(door, credential) for door in (auth, other) for _ in range(2)),
        return_exceptions=True,
    )
    await database.close()
    assert sorted(type(one).__name__ for one in done) == ["InvalidPasskey"] * 3 + ["SignedIn"]
    with pytest.raises(InvalidPasskey):
        await come_in(auth, credential)
    with pytest.raises(WrongFactor):
        await auth.step_up_with_passkey(credential, actor_of(ada))
    await come_in(auth, sign(auth, synced))


async def test_of_two_checked_signatures_with_one_count_one_is_let_in(
    auth: AuthenticationService, runner: Runner, ada: SignedIn, phone: Authenticator
) -> None:
    """A copy of the key signs another challenge at the same moment."""
    await make(auth, ada, phone)
    proofs = []
    for step in (1, 0):
        checked = await auth.passkeys.check(sign(auth, phone, step=step))
        assert checked is not None
        proofs.append(checked[1])
    assert proofs[0].sign_count == proofs[1].sign_count
    done = await asyncio.gather(
        *(
            runner.run(
                open_session, OpenSession(ada.user.id, uuid4().bytes, None, factor=proof), CALLER
            )
            for proof in proofs
        ),
        return_exceptions=True,
    )
    assert sorted(type(one).__name__ for one in done) == ["InvalidPasskey", "Session"]


async def test_a_challenge_that_ends_between_check_and_use_is_refused(
    auth: AuthenticationService,
    runner: Runner,
    clock: FixedClock,
    ada: SignedIn,
    phone: Authenticator,
) -> None:
    """Else it could be used again once it is forgotten."""
    await make(auth, ada, phone)
    checked = await auth.passkeys.check(sign(auth, phone))
    assert checked is not None
    clock.advance(seconds=300)
    with pytest.raises(InvalidPasskey):
        await runner.run(
            open_session, OpenSession(ada.user.id, b"r" * 32, None, factor=checked[1]), CALLER
        )


async def test_used_challenges_are_forgotten_a_day_after_they_ended(
    auth: AuthenticationService,
    runner: Runner,
    clock: FixedClock,
    ada: SignedIn,
    phone: Authenticator,
) -> None:
    await make(auth, ada, phone)
    for days, kept in ((0, 2), (1, 3), (1, 2)):
        clock.advance(days=days)
        await come_in(auth, sign(auth, phone))
        async with runner.database.view() as connection:
            statement = select(used_challenges.c.ends_at)
            ends = (await connection.execute(statement)).scalars().all()
        assert len(ends) == kept
        assert min(ends) >= clock.now_us() - DAY_US


async def test_a_device_is_told_of_the_passkeys_that_there_are_and_makes_none_twice(
    auth: AuthenticationService, ada: SignedIn, eve: SignedIn, phone: Authenticator
) -> None:
    options = await auth.passkeys.creation_options(actor_of(ada))
    assert options["excludeCredentials"] == []
    credential = phone.create(options)
    await auth.passkeys.add("Phone", credential, actor_of(ada))
    options = await auth.passkeys.creation_options(actor_of(ada))
    assert [known["id"] for known in options["excludeCredentials"]] == [credential["id"]]
    assert (await auth.passkeys.creation_options(actor_of(eve)))["excludeCredentials"] == []


async def test_a_passkey_is_made_by_who_asked_for_it_in_that_session_and_once(
    auth: AuthenticationService, ada: SignedIn, eve: SignedIn, phone: Authenticator
) -> None:
    options = await auth.passkeys.creation_options(actor_of(ada))
    credential = phone.create(options)
    second = await auth.log_in(EMAIL, PASSWORD, CALLER, "Browser")
    for other in (eve, second):
        with pytest.raises(WrongFactor):
            await auth.passkeys.add("Mine", credential, actor_of(other))
    await auth.passkeys.add("Phone", credential, actor_of(ada))
    with pytest.raises(WrongFactor):
        await auth.passkeys.add("Again", credential, actor_of(ada))
    with pytest.raises(WrongFactor):  # what was made for a sign-in is nothing to keep
        await auth.passkeys.add("Sign-in", sign(auth, phone), actor_of(ada))


async def test_a_passkey_that_is_known_is_not_taken_again(
    auth: AuthenticationService, ada: SignedIn, eve: SignedIn, phone: Authenticator
) -> None:
    await make(auth, ada, phone)
    key = phone.keys[0]
    for who in (ada, eve):
        options = await auth.passkeys.creation_options(actor_of(who))
        phone.keys.clear()
        answer = phone.create(options, id_=key.id)
        with pytest.raises(PasskeyTaken):
            await auth.passkeys.add("Copy", answer, actor_of(who))
    phone.keys[:] = [key]
    assert (await come_in(auth, sign(auth, phone))).user == ada.user


async def test_a_user_has_so_many_passkeys_at_most(
    auth: AuthenticationService,
    runner: Runner,
    clock: FixedClock,
    ada: SignedIn,
    eve: SignedIn,
    phone: Authenticator,
) -> None:
    for number in range(MAX_PASSKEYS):
        clock.advance(seconds=1)
        await make(auth, ada, phone, f"Key {number}")
    with pytest.raises(TooManyPasskeys):
        await make(auth, ada, phone)
    await make(auth, eve, phone)
    first = await runner.view(lambda v: list_passkeys(v, actor_of(ada), PageRequest(15)))
    assert [one.name for one in first.items] == [f"Key {n}" for n in range(19, 4, -1)]
    after = PageRequest(15, after=str(first.items[-1].id))
    rest = await runner.view(lambda v: list_passkeys(v, actor_of(ada), after))
    assert [one.name for one in rest.items] == [f"Key {n}" for n in range(4, -1, -1)]
    assert (first.has_more, rest.has_more) == (True, False)


async def test_a_removed_passkey_opens_nothing_and_the_other_sessions_end(
    auth: AuthenticationService, runner: Runner, ada: SignedIn, eve: SignedIn, phone: Authenticator
) -> None:
    made = await make(auth, ada, phone)
    other = await come_in(auth, sign(auth, phone))
    with pytest.raises(PasskeyNotFound):
        await runner.run(remove_passkey, RemovePasskey(made.id), actor_of(eve))
    with pytest.raises(Unauthenticated):
        await runner.run(remove_passkey, RemovePasskey(made.id), CALLER)
    checked = await auth.passkeys.check(sign(auth, phone))
    await runner.run(remove_passkey, RemovePasskey(made.id), actor_of(ada))
    assert checked is not None
    with pytest.raises(InvalidPasskey):  # it was checked before, and is used too late
        await runner.run(
            open_session, OpenSession(ada.user.id, b"r" * 32, None, factor=checked[1]), CALLER
        )
    with pytest.raises(InvalidPasskey):
        await come_in(auth, sign(auth, phone))
    with pytest.raises(PasskeyNotFound):
        await runner.run(remove_passkey, RemovePasskey(made.id), actor_of(ada))
    await whose(runner, ada)
    with pytest.raises(Unauthenticated):
        await runner.view(
            lambda v: session_user(v, other.session.id, ada.user.id, other.session.version)
        )


async def test_who_is_switched_off_does_not_come_in_by_a_passkey(
    auth: AuthenticationService, runner: Runner, ada: SignedIn, phone: Authenticator
) -> None:
    await make(auth, ada, phone)
    options = await auth.passkeys.creation_options(actor_of(ada))
    checked = await auth.passkeys.check(sign(auth, phone))
    assert checked is not None
    async with runner.database.begin() as connection:
        await connection.execute(users.update().values(is_active=False))
    with pytest.raises(InvalidPasskey):
        await come_in(auth, sign(auth, phone))
    with pytest.raises(InvalidPasskey):  # switched off after the check
        await runner.run(
            open_session, OpenSession(ada.user.id, b"r" * 32, None, factor=checked[1]), CALLER
        )
    with pytest.raises(Unauthenticated):
        await auth.passkeys.creation_options(actor_of(ada))
    with pytest.raises(Unauthenticated):
        await auth.passkeys.add("Late", phone.create(options), actor_of(ada))
    with pytest.raises(Unauthenticated):
        await auth.step_up_with_passkey(sign(auth, phone, key=phone.keys[0]), actor_of(ada))


async def test_an_address_is_proved_before_a_passkey_opens_anything(
    auth: AuthenticationService, ada: SignedIn, phone: Authenticator
) -> None:
    await make(auth, ada, phone)
    auth.requires_verification = True
    with pytest.raises(EmailUnverified):
        await come_in(auth, sign(auth, phone))


async def test_a_passkey_steps_up_the_sessions_of_its_owner(
    auth: AuthenticationService, runner: Runner, clock: FixedClock, ada: SignedIn, eve: SignedIn
) -> None:
    phone, other = Authenticator(ADDRESS), Authenticator(ADDRESS)
    await make(auth, ada, phone)
    await make(auth, eve, other)
    clock.advance(seconds=3600)
    with pytest.raises(WrongFactor):
        await auth.step_up_with_passkey(sign(auth, other), actor_of(ada))
    expires_at = await auth.step_up_with_passkey(sign(auth, phone), actor_of(ada))
    assert expires_at == clock.now_us() + 300_000_000
    found = await runner.view(
        lambda v: session_user(v, ada.session.id, ada.user.id, ada.session.version)
    )
    assert found[1] == clock.now_us()


async def test_an_admin_takes_passkeys_away(
    auth: AuthenticationService, runner: Runner, ada: SignedIn, phone: Authenticator
) -> None:
    await make(auth, ada, phone)
    await runner.run(remove_factors, RemoveFactors(ada.user.id), Actor(None, Role.ADMIN))
    async with runner.database.view() as connection:
        assert (await connection.execute(passkeys.select())).all() == []
    with pytest.raises(InvalidPasskey):
        await come_in(auth, sign(auth, phone))


async def test_asking_for_challenges_leaves_nothing_behind(
    auth: AuthenticationService, runner: Runner
) -> None:
    for _ in range(3):
        auth.passkeys.request_options()
    assert await owner.rows(runner.database.url, "SELECT * FROM identity_used_challenges") == []


async def test_a_passkey_on_a_new_device_is_told_once(
    auth: AuthenticationService, runner: Runner, ada: SignedIn, phone: Authenticator
) -> None:
    async def told() -> int:
        types = await owner.rows(runner.database.url, "SELECT type FROM outbox")
        return types.count(("identity.signed_in_anew",))

    await make(auth, ada, phone)
    await come_in(auth, sign(auth, phone))
    assert await told() == 0  # as ada has signed up here
    for _ in range(2):
        await auth.log_in_with_passkey(sign(auth, phone), STRANGER, "Tablet")
    assert await told() == 1


async def test_who_is_refused_with_a_passkey_is_in_the_audit_trail(
    auth: AuthenticationService, runner: Runner, ada: SignedIn, phone: Authenticator
) -> None:
    await make(auth, ada, phone)
    other = Authenticator(ADDRESS)
    other.create({"user": {"id": "eA"}, "rp": {"id": "bank.test"}, "challenge": "eA"})
    with pytest.raises(InvalidPasskey):
        await come_in(auth, sign(auth, other))  # nobody's
    async with runner.database.begin() as connection:
        await connection.execute(users.update().values(is_active=False))
    with pytest.raises(InvalidPasskey):
        await come_in(auth, sign(auth, phone))
    with pytest.raises(InvalidCredentials):
        await auth.log_in(EMAIL, PASSWORD, CALLER, "Browser")
    rows = await owner.rows(
        runner.database.url,
        "SELECT action, subject, code FROM audit_events WHERE phase = 'failed' ORDER BY id",
    )
    ada_id = str(ada.user.id)
    assert rows == [
        ("session.open", None, "invalid_passkey"),
        ("session.open", ada_id, "invalid_passkey"),
        ("session.open", ada_id, "invalid_credentials"),
    ]
