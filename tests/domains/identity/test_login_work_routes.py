"""Whether an address has a user shows neither in what a failed login does nor in how long it takes.

The work is compared statement by statement in every run; the time by ``-m long``, on a machine that
does nothing else.
"""

import gc
import random
import statistics
from collections import defaultdict
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from tests.support.app import app_on, bank_of, started
from tests.support.builders import a_user
from tests.support.constants import PASSWORD
from tests.support.sizes import SEED, tell
from tests.support.statements import statements

TRIES = 500
TRIES_AN_ADDRESS = 4
"""One less than what locks an address."""
MOST_MS = 2.0
WAYS = {
    "/api/v1/sessions": lambda email: {"email": email, "password": "wrong horse battery"},
    "/auth/login": lambda email: {"username": email, "password": "wrong horse battery"},
}
PER_REQUEST = {"x-request-id"}


async def with_users(app: FastAPI, count: int) -> list[str]:
    """So many users with one password; hashing it once is enough."""
    encoded = await bank_of(app).passwords.hash(PASSWORD)
    emails = [f"known{number}@example.test" for number in range(count)]
    for email in emails:
        await a_user(bank_of(app).runner, email, encoded)
    return emails


def said_of(answer: httpx.Response) -> tuple[int, dict[str, Any], dict[str, str]]:
    """An answer without what is new in each."""
    body = answer.json() | {"request_id": ""}
    if body.pop("locked_until", None) is not None:
        for told in {"detail", "error_description"} & body.keys():
            body[told] = body[told].partition(" Try again after ")[0]
    headers = {name: text for name, text in answer.headers.items() if name not in PER_REQUEST}
    return answer.status_code, body, headers


@pytest.mark.parametrize("path", WAYS)
async def test_a_failed_login_is_the_same_work_and_answer_with_a_user_and_without(
    database_url: str, tmp_path: Path, path: str
) -> None:
    """Up to the lock and beyond it."""
    app = app_on(database_url, tmp_path)
    async with started(app) as client:
        [known] = await with_users(app, 1)
        for number in range(7):
            heard, answers = [], []
            for email in (known, "unknown0@example.test"):
                with statements(bank_of(app).database) as said:
                    answers.append(said_of(await client.post(path, json=WAYS[path](email))))
                heard.append([sql for sql, _ in said])
            assert heard[0] == heard[1], number
            assert len(heard[0]) > (3 if number < 5 else 1)
            assert answers[0] == answers[1]
            assert answers[0][0] == (401 if number < 5 else 403)


async def test_one_password_is_checked_for_nobody_as_for_somebody(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = app_on(sqlite_url, tmp_path)
    async with started(app) as client:
        [known] = await with_users(app, 1)
        real, hashes = bank_of(app).passwords._fits, []

        def fits(encoded: str, password: str, typed: str) -> bool:
            hashes.append(encoded.rpartition("$")[0].rpartition("$")[0])
            return bool(real(encoded, password, typed))

        monkeypatch.setattr(bank_of(app).passwords, "_fits", fits)
        for email in (known, "unknown0@example.test"):
            await client.post("/api/v1/sessions", json=WAYS["/api/v1/sessions"](email))
        assert len(hashes) == 2
        assert hashes[0] == hashes[1]  # the same algorithm with the same parameters


@pytest.mark.usefixtures("dear_passwords")
async def test_a_bank_hashes_as_the_policy_says(sqlite_url: str, tmp_path: Path) -> None:
    async with started(app := app_on(sqlite_url, tmp_path)):
        assert "$m=19456,t=2,p=1$" in await bank_of(app).passwords.hash("correct horse battery")


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("dear_passwords")
async def test_the_time_of_a_failed_login_does_not_tell_whether_there_is_a_user(
    database_url: str, tmp_path: Path
) -> None:
    app = app_on(database_url, tmp_path)
    draw = random.Random(SEED)
    took: dict[str, list[float]] = defaultdict(list)
    worked: dict[str, list[float]] = defaultdict(list)
    addresses = TRIES // TRIES_AN_ADDRESS
    async with started(app) as client:
        names = {
            "known": await with_users(app, addresses + 5),
            "unknown": [f"unknown{number}@example.test" for number in range(addresses + 5)],
        }
        gc.collect()
        gc.disable()
        try:
            for number in range(-5 * TRIES_AN_ADDRESS, TRIES):  # the first ones only warm up
                for kind in draw.sample(sorted(names), 2):
                    email = names[kind][number // TRIES_AN_ADDRESS + 5]
                    body = {"email": email, "password": "wrong horse battery"}
                    begun, busy = perf_counter(), process_time()
                    answer = await client.post("/api/v1/sessions", json=body)
                    if number >= 0:
                        took[kind].append((perf_counter() - begun) * 1000)
                        worked[kind].append((process_time() - busy) * 1000)
                    assert answer.status_code == 401, answer.text
        finally:
            gc.enable()
    medians = {kind: statistics.median(all_) for kind, all_ in took.items()}
    difference = abs(medians["known"] - medians["unknown"])
    tell("login", engine=bank_of(app).database.writer.dialect.name, tries=len(took["known"]),
         median_ms={kind: round(median, 3) for kind, median in medians.items()},
         difference_ms=round(difference, 3),
         median_cpu_ms={kind: round(statistics.median(ms), 3) for kind, ms in worked.items()},
    )  # fmt: skip
    assert len(took["known"]) == len(took["unknown"]) == TRIES
    assert difference < MOST_MS
