"""Authenticator apps and recovery codes on real databases: once each, and no way around."""

from uuid import uuid4

import pytest

from guilder.core.actor import Actor
from guilder.core.clock import FixedClock
from guilder.core.errors import Unauthenticated
from guilder.core.permissions import Role
from guilder.core.ports import CannotUnseal
from guilder.db.engine import Database
from guilder.db.migrate import downgrade, upgrade
from guilder.db.run import Runner
from guilder.domains.identity.commands.factors import (
    RemoveFactors,
    RemoveTotp,
    remove_factors,
    remove_totp,
)
from guilder.domains.identity.commands.sessions import OpenSession, open_session
from guilder.domains.identity.errors import (
    AccountLocked,
    InvalidCredentials,
    InvalidSecondFactor,
    SecondFactorRequired,
    TotpActive,
    TotpNotFound,
    UserNotFound,
    WrongFactor,
)
from guilder.domains.identity.models import recovery_codes, users
from guilder.domains.identity.queries import get_factors, session_user
from guilder.domains.identity.repository.sign_in import SessionFacts
from guilder.domains.identity.rules.factors import Factors, base32, normal_code, recovery_hash
from guilder.domains.identity.services.authentication import AuthenticationService, SignedIn
from guilder.infra.security.crypto import AesGcmSealer
from tests.db import owner
from tests.domains.identity.codes import code_at
from tests.domains.identity.doors import (
    SECRET,
    WRONG,
    actor_of,
    enrol,
    factors_of,
    gate_of,
    is_good,
    log_in,
    outcomes,
)
from tests.support.constants import CALLER, EMAIL, PASSWORD, STRANGER


@pytest.fixture
async def ada(auth: AuthenticationService) -> SignedIn:
    return await auth.sign_up(EMAIL, PASSWORD, None, CALLER, "Browser")


async def test_an_app_counts_once_it_has_shown_a_code(
    auth: AuthenticationService, runner: Runner, clock: FixedClock, ada: SignedIn
) -> None:
    secret = (await auth.factors.enrol(actor_of(ada))).secret
    await log_in(auth)
    assert (await factors_of(runner, ada)).totp is None
    with pytest.raises(WrongFactor):
        await auth.factors.confirm(WRONG, actor_of(ada))
    code = code_at(secret, clock)
    codes = await auth.factors.confirm(f" {code[:3]} {code[3:]}", actor_of(ada))
    assert len(codes) == len(set(codes)) == 10
    assert all(len(normal_code(code)) == 28 for code in codes)
    found = await factors_of(runner, ada)
    assert found.totp is not None
    assert (found.totp.confirmed_at, found.recovery_codes_left) == (clock.now_us(), 10)
    with pytest.raises(SecondFactorRequired):
        await log_in(auth)
    with pytest.raises(InvalidSecondFactor):  # the step it was confirmed with is used
        await log_in(auth, code_at(secret, clock))
    clock.advance(seconds=30)
    await log_in(auth, code_at(secret, clock))


async def test_who_has_not_the_password_learns_nothing_of_factors(
    auth: AuthenticationService, clock: FixedClock, ada: SignedIn
) -> None:
    secret, codes = await enrol(auth, ada, clock)
    clock.advance(seconds=30)
    for email in (EMAIL, "nobody@b.test"):
        for code in (None, WRONG, code_at(secret, clock), codes[0]):
            clock.advance(seconds=901)  # past any lock
            with pytest.raises(InvalidCredentials):
                await auth.log_in(email, "wrong horse battery", STRANGER, "Robot", code)
    clock.advance(seconds=901)
    await log_in(auth, codes[0])  # it was not used up


@pytest.mark.parametrize(
    ("steps", "taken"), [(-2, False), (-1, True), (0, True), (1, False), (2, False)]
)
async def test_a_code_is_taken_in_its_step_and_the_one_after(
    auth: AuthenticationService, clock: FixedClock, ada: SignedIn, steps: int, taken: bool
) -> None:
    secret, _ = await enrol(auth, ada, clock)
    clock.advance(seconds=300)
    code = code_at(secret, clock, steps)
    if taken:
        await log_in(auth, code)
    with pytest.raises(InvalidSecondFactor):
        await log_in(auth, code)


async def test_a_step_and_those_before_it_are_used_once(
    auth: AuthenticationService, clock: FixedClock, ada: SignedIn
) -> None:
    secret, _ = await enrol(auth, ada, clock)
    clock.advance(seconds=300)
    await log_in(auth, code_at(secret, clock))
    for steps in (0, -1):
        with pytest.raises(InvalidSecondFactor):
            await log_in(auth, code_at(secret, clock, steps))
    clock.advance(seconds=30)
    with pytest.raises(InvalidSecondFactor):
        await log_in(auth, code_at(secret, clock, -1))
    await log_in(auth, code_at(secret, clock))


async def test_a_used_code_is_a_wrong_code(
    auth: AuthenticationService, clock: FixedClock, ada: SignedIn
) -> None:
    """And counts as one: it may have been read over a shoulder."""
    secret, codes = await enrol(auth, ada, clock)
    await log_in(auth, codes[0])
    for used in (code_at(secret, clock), codes[0], code_at(secret, clock), codes[0], codes[0]):
        with pytest.raises(InvalidSecondFactor):
            await log_in(auth, used)
    with pytest.raises(AccountLocked):
        await log_in(auth, codes[1])


async def test_of_two_who_come_with_one_code_one_is_let_in(
    auth: AuthenticationService, runner: Runner, clock: FixedClock, ada: SignedIn
) -> None:
    secret, codes = await enrol(auth, ada, clock)
    database = Database(runner.database.url)
    other = gate_of(Runner(database, clock), clock)  # another process
    for code in (None, codes[0]):
        clock.advance(seconds=30)
        given = code or code_at(secret, clock)
        assert await outcomes(
            *(log_in(door, given, STRANGER, "Robot") for door in (auth, other) for _ in range(2))
        ) == ["InvalidSecondFactor"] * 3 + ["SignedIn"]
    await database.close()


async def test_of_two_commands_with_one_checked_factor_one_is_let_in(
    auth: AuthenticationService, runner: Runner, clock: FixedClock, ada: SignedIn
) -> None:
    """The race after the check, which decides."""
    secret, codes = await enrol(auth, ada, clock)
    clock.advance(seconds=30)
    totp = (await factors_of(runner, ada)).totp
    assert totp is not None
    ((encoded,),) = await owner.rows(
        runner.database.url, "SELECT password_hash FROM identity_users"
    )
    for code in (code_at(secret, clock), codes[0]):
        checked = await auth.factors.check(totp, code, CALLER)
        assert checked is not None
        assert await outcomes(
            *(
                runner.run(
                    open_session,
                    OpenSession(ada.user.id, uuid4().bytes, encoded, factor=checked.factor),
                    CALLER,
                )
                for _ in range(5)
            )
        ) == ["InvalidSecondFactor"] * 4 + ["Session"]
    with pytest.raises(SecondFactorRequired):  # enrolled while the password was being checked
        await runner.run(open_session, OpenSession(ada.user.id, b"r" * 32, encoded), CALLER)


async def test_a_recovery_code_is_used_once(
    auth: AuthenticationService, runner: Runner, clock: FixedClock, ada: SignedIn
) -> None:
    _, codes = await enrol(auth, ada, clock)
    await log_in(auth, codes[3].lower().replace("-", " "))
    assert (await factors_of(runner, ada)).recovery_codes_left == 9
    with pytest.raises(InvalidSecondFactor):
        await log_in(auth, codes[3])
    eve = await auth.sign_up("eve@b.test", PASSWORD, None, STRANGER, None)
    await enrol(auth, eve, clock)
    with pytest.raises(InvalidSecondFactor):  # another user's
        await auth.log_in("eve@b.test", PASSWORD, STRANGER, None, codes[4])
    await log_in(auth, codes[4])


async def test_recovery_codes_have_128_bits_and_are_kept_under_a_key(
    auth: AuthenticationService, clock: FixedClock, ada: SignedIn, runner: Runner
) -> None:
    _, codes = await enrol(auth, ada, clock)
    for code in codes:
        assert len(code.replace("-", "")) * 5 >= 128  # of 32 letters each
    plain = {recovery_hash(ada.user.id, normal_code(code)) for code in codes}
    found = await owner.rows(runner.database.url, "SELECT hash FROM identity_recovery_codes")
    assert len(found) == 10
    assert plain.isdisjoint(bytes(hash_) for (hash_,) in found)


async def test_recovery_codes_outlive_a_new_key_and_those_of_before_there_was_one(
    auth: AuthenticationService, clock: FixedClock, ada: SignedIn, runner: Runner
) -> None:
    _, codes = await enrol(auth, ada, clock)
    old = recovery_hash(ada.user.id, "ABCDEFGHJKLMNPQRSTUV")
    async with runner.database.begin() as connection:
        await connection.execute(recovery_codes.insert().values(hash=old, user_id=ada.user.id))
    renewed = gate_of(runner, clock, older=(SECRET,), secret=b"t" * 32)
    wide = codes[0].translate({ord(one): ord(one) + 0xFEE0 for one in "23456789"})
    await log_in(renewed, wide.replace("-", "\u2013"))  # as some keyboards write it
    await log_in(renewed, "ABCDE-FGHJK-LMNPQ-RSTUV")
    with pytest.raises(InvalidSecondFactor):
        await log_in(renewed, codes[0])


async def test_new_recovery_codes_kill_the_old_ones(
    auth: AuthenticationService, runner: Runner, clock: FixedClock, ada: SignedIn
) -> None:
    with pytest.raises(TotpNotFound):
        await auth.factors.renew_codes(actor_of(ada))
    _, old = await enrol(auth, ada, clock)
    new = await auth.factors.renew_codes(actor_of(ada))
    assert not set(old) & set(new)
    assert (await factors_of(runner, ada)).recovery_codes_left == 10
    with pytest.raises(InvalidSecondFactor):
        await log_in(auth, old[0])
    await log_in(auth, new[0])


async def test_guesses_of_codes_are_bounded_and_the_owner_is_not_locked_out(
    auth: AuthenticationService, clock: FixedClock, ada: SignedIn
) -> None:
    """A thief has the password; the owner's known device has a count of its own."""
    secret, codes = await enrol(auth, ada, clock)
    clock.advance(seconds=300)
    done = await outcomes(
        *(log_in(auth, f"{n:06}", STRANGER, "Robot") for n in range(400_000, 400_020))
    )
    assert done == ["AccountLocked"] * 15 + ["InvalidSecondFactor"] * 5
    for code in (code_at(secret, clock), codes[0]):  # neither the app nor a recovery code
        with pytest.raises(AccountLocked):
            await log_in(auth, code, STRANGER, "Robot")
    await log_in(auth, code_at(secret, clock))
    for _ in range(4):
        with pytest.raises(InvalidSecondFactor):
            await log_in(auth, WRONG)
    clock.advance(seconds=30)
    await log_in(auth, code_at(secret, clock))  # a right one begins the count anew
    for _ in range(5):
        with pytest.raises(InvalidSecondFactor):
            await log_in(auth, WRONG)
    with pytest.raises(AccountLocked):
        await log_in(auth, codes[0])
    clock.advance(seconds=900)
    await log_in(auth, codes[0])


async def test_a_set_up_is_replaced_ends_and_is_done_once(
    auth: AuthenticationService, clock: FixedClock, ada: SignedIn
) -> None:
    with pytest.raises(TotpNotFound):
        await auth.factors.confirm(WRONG, actor_of(ada))
    first = (await auth.factors.enrol(actor_of(ada))).secret
    second = (await auth.factors.enrol(actor_of(ada))).secret
    with pytest.raises(WrongFactor):
        await auth.factors.confirm(code_at(first, clock), actor_of(ada))
    clock.advance(seconds=901)
    with pytest.raises(TotpNotFound):
        await auth.factors.confirm(code_at(second, clock), actor_of(ada))
    third = (await auth.factors.enrol(actor_of(ada))).secret
    code = code_at(third, clock)
    *refused, codes = await outcomes(*(auth.factors.confirm(code, actor_of(ada)) for _ in range(3)))
    assert codes == "list"
    assert set(refused) <= {"TotpActive", "TotpNotFound"}  # who comes later, and who was overtaken
    with pytest.raises(TotpActive):
        await auth.factors.enrol(actor_of(ada))


async def test_other_sessions_end_when_an_app_comes_or_goes(
    auth: AuthenticationService, runner: Runner, clock: FixedClock, ada: SignedIn
) -> None:
    for _ in range(2):
        other = await log_in(auth)
        secret, _ = await enrol(auth, ada, clock)
        assert (await is_good(runner, ada), await is_good(runner, other)) == (True, False)
        clock.advance(seconds=30)
        other = await log_in(auth, code_at(secret, clock))
        await runner.run(remove_totp, RemoveTotp(), actor_of(ada))
        assert (await is_good(runner, ada), await is_good(runner, other)) == (True, False)
        assert await factors_of(runner, ada) == Factors(None, 0, ())
        with pytest.raises(TotpNotFound):
            await runner.run(remove_totp, RemoveTotp(), actor_of(ada))
        clock.advance(seconds=30)
    await log_in(auth)


async def test_an_admin_helps_who_has_lost_everything(
    auth: AuthenticationService, runner: Runner, clock: FixedClock, ada: SignedIn
) -> None:
    root = Actor(None, Role.ADMIN)
    await enrol(auth, ada, clock)
    await runner.run(remove_factors, RemoveFactors(ada.user.id), root)
    assert not await is_good(runner, ada)
    assert await factors_of(runner, ada) == Factors(None, 0, ())
    await log_in(auth)
    with pytest.raises(UserNotFound):
        await runner.run(remove_factors, RemoveFactors(uuid4()), root)


async def test_who_is_switched_off_can_do_nothing_with_factors(
    auth: AuthenticationService, runner: Runner, clock: FixedClock, ada: SignedIn
) -> None:
    secret, _ = await enrol(auth, ada, clock)
    clock.advance(seconds=30)
    async with runner.database.begin() as connection:
        await connection.execute(users.update().values(is_active=False))
    with pytest.raises(InvalidCredentials):
        await log_in(auth, code_at(secret, clock))
    for work in (
        auth.factors.enrol(actor_of(ada)),
        auth.factors.renew_codes(actor_of(ada)),
        auth.step_up_with_code(code_at(secret, clock), actor_of(ada)),
        auth.step_up_with_password(PASSWORD, actor_of(ada)),
        runner.run(remove_totp, RemoveTotp(), actor_of(ada)),
    ):
        with pytest.raises(Unauthenticated):
            await work


async def test_nobody_and_who_has_no_session_can_do_nothing_with_factors(
    auth: AuthenticationService, runner: Runner, clock: FixedClock, ada: SignedIn
) -> None:
    keyed = Actor(ada.user.id, Role.USER)  # an API key has no session
    with pytest.raises(Unauthenticated):
        await auth.step_up_with_password(PASSWORD, keyed)
    secret, _ = await enrol(auth, ada, clock)
    clock.advance(seconds=30)
    for work in (
        auth.factors.enrol(CALLER),
        auth.factors.confirm(WRONG, CALLER),
        auth.factors.renew_codes(CALLER),
        auth.step_up_with_code(code_at(secret, clock), CALLER),
        auth.step_up_with_code(code_at(secret, clock), keyed),
        runner.run(remove_totp, RemoveTotp(), CALLER),
        runner.view(lambda view: get_factors(view, CALLER)),
    ):
        with pytest.raises(Unauthenticated):
            await work


async def test_neither_secrets_nor_codes_are_in_the_database(
    auth: AuthenticationService, runner: Runner, clock: FixedClock, ada: SignedIn
) -> None:
    secret, codes = await enrol(auth, ada, clock)
    clock.advance(seconds=30)
    used = code_at(secret, clock)
    await log_in(auth, used)
    with pytest.raises(InvalidSecondFactor):
        await log_in(auth, "canary-code-1234")
    url = runner.database.url
    everything = ""
    for table in (
        "identity_totps", "identity_recovery_codes", "identity_sessions", "identity_failures",
        "audit_events", "outbox",
    ):  # fmt: skip
        for row in await owner.rows(url, f"SELECT * FROM {table}"):
            for value in row:
                raw = bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode()
                everything += raw.decode("latin-1") + raw.hex()
    for canary in (
        secret.decode("latin-1"), secret.hex(), base32(secret), used, "canary",
        *codes, *map(normal_code, codes),
    ):  # fmt: skip
        assert canary not in everything
    ((sealed,),) = await owner.rows(url, "SELECT secret FROM identity_totps")
    sealer = AesGcmSealer([SECRET])
    assert sealer.unseal(bytes(sealed), f"identity_totps|secret|{ada.user.id}") == secret
    with pytest.raises(CannotUnseal):  # another user's row is no place for it
        sealer.unseal(bytes(sealed), f"identity_totps|secret|{uuid4()}")


async def test_wrong_codes_are_in_the_audit_trail(
    auth: AuthenticationService, runner: Runner, clock: FixedClock, ada: SignedIn
) -> None:
    await enrol(auth, ada, clock)
    with pytest.raises(InvalidSecondFactor):
        await log_in(auth, WRONG)
    rows = await owner.rows(
        runner.database.url, "SELECT action, phase FROM audit_events ORDER BY id DESC LIMIT 2"
    )
    assert rows[::-1] == [("session.open", "attempted"), ("session.open", "failed")]


async def test_sessions_outlive_the_migration_there_and_back(
    auth: AuthenticationService, runner: Runner, clock: FixedClock, ada: SignedIn
) -> None:
    url = runner.database.url
    await runner.database.close()
    await downgrade(url, "20261122_rotations")
    await upgrade(url)
    database = Database(url)
    again = gate_of(Runner(database, clock), clock)
    refreshed = await again.refresh(ada.refresh_token, CALLER)
    found = await Runner(database, clock).view(
        lambda view: session_user(
            view, refreshed.session.id, ada.user.id, refreshed.session.version
        )
    )
    assert found == SessionFacts(ada.user, None, None)  # a session of before was never proved
    await database.close()
