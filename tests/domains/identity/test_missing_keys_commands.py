"""An encryption key that is not there is told at the start, and never taken for a wrong guess."""

from pathlib import Path

import pytest

from guilder.bootstrap import check_stored_keys, open_bank, open_keys
from guilder.core.clock import FixedClock
from guilder.core.errors import Unavailable
from guilder.db.run import Runner
from guilder.domains.identity.errors import InvalidCredentials
from guilder.domains.identity.rules.lockout import MAX_FAILURES
from guilder.domains.identity.services.authentication import AuthenticationService
from guilder.infra.process.settings import InvalidSettings, Settings
from guilder.infra.security.key_names import encryption_key_names
from guilder.infra.security.passwords import Argon2Passwords
from tests.domains.identity.codes import code_at
from tests.domains.identity.doors import actor_of, enrol, gate_of, log_in
from tests.support.constants import CALLER, EMAIL, PASSWORD

OTHER = b"o" * 32
FIRST, SECOND = "a" * 32, "b" * 32


def settings_on(url: str, folder: Path, encryption: str, lost: str = "") -> Settings:
    values = {"env": "test", "data_dir": folder, "database_url": url, "secret_key": "s" * 32}
    return Settings.model_validate(
        {**values, "encryption_key": encryption, **({"lost_keys": lost} if lost else {})}
    )


async def log_in_at(settings: Settings) -> None:
    async with open_bank(settings) as bank:
        await bank.authentication.log_in(EMAIL, PASSWORD, CALLER, None)


async def test_a_bank_does_not_open_without_a_key_that_is_named(
    database_url: str, tmp_path: Path, clock: FixedClock
) -> None:
    async with open_bank(settings_on(database_url, tmp_path, FIRST)) as bank:
        ada = await bank.authentication.sign_up(EMAIL, PASSWORD, None, CALLER, None)
        await bank.authentication.factors.enrol(actor_of(ada))
    without = settings_on(database_url, tmp_path, SECOND)
    with pytest.raises(InvalidSettings, match="under a key that is not there") as refused:
        await log_in_at(without)
    with pytest.raises(InvalidSettings) as told_before:
        await check_stored_keys(without, open_keys(without, clock))
    assert str(told_before.value) == str(refused.value)
    for secret in (FIRST, SECOND, EMAIL):
        assert secret not in str(refused.value)
    lost = str(refused.value).rpartition("=")[2]
    names = encryption_key_names(FIRST.encode())
    assert set(lost.split(",")) == {names["codes"], names["passwords"]}
    told = f"(codes: {names['codes']}, passwords: {names['passwords']})"
    assert told in str(refused.value)
    with pytest.raises(InvalidSettings, match=lost.split(",")[1]):
        await log_in_at(settings_on(database_url, tmp_path, SECOND, lost.split(",")[0]))
    with pytest.raises(InvalidCredentials):
        await log_in_at(settings_on(database_url, tmp_path, SECOND, lost))
    async with open_bank(settings_on(database_url, tmp_path, f"{SECOND},{FIRST}")) as bank:
        assert await bank.passwords.verify(await bank.passwords.hash(PASSWORD), PASSWORD)


async def test_a_right_password_under_a_missing_key_is_no_wrong_guess(
    auth: AuthenticationService, runner: Runner, clock: FixedClock
) -> None:
    await auth.sign_up(EMAIL, PASSWORD, None, CALLER, None)
    without = gate_of(runner, clock, Argon2Passwords(OTHER, memory_kib=64, time_cost=1))
    for _ in range(MAX_FAILURES + 1):
        with pytest.raises(Unavailable) as refused:
            await log_in(without)
        assert "names the key" in str(refused.value.__cause__)
    await log_in(auth)


async def test_a_right_code_under_a_missing_key_is_no_wrong_guess(
    auth: AuthenticationService, runner: Runner, clock: FixedClock
) -> None:
    ada = await auth.sign_up(EMAIL, PASSWORD, None, CALLER, None)
    secret, _ = await enrol(auth, ada, clock)
    without = gate_of(runner, clock, secret=OTHER)
    clock.advance(seconds=30)
    for _ in range(MAX_FAILURES + 1):
        with pytest.raises(Unavailable) as refused:
            await log_in(without, code_at(secret, clock))
        assert "names the key" in str(refused.value.__cause__)
    await log_in(auth, code_at(secret, clock))
