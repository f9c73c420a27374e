"""No secret comes out: not in a log, a problem, a metric, a setting, nor in the database.

A person signs up, mistypes, signs in, refreshes and changes the password; every operation is sent
secrets in places where none belong; handlers crash with secrets in their hands. All of it with
the log at its most talkative. Then everything is searched for every secret.
"""

import logging
import os
import secrets
import time
from base64 import b32decode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Annotated, Any, Final
from uuid import UUID

import pytest
from fastapi import APIRouter, Depends, FastAPI
from sqlalchemy import select, text

from guilder.api.auth import AnonymousActor
from guilder.api.deps import Part
from guilder.api.policies import HEALTH, rate_limited
from guilder.api.replies import to_json
from guilder.api.schema import RequestBody
from guilder.core.actor import SYSTEM
from guilder.core.errors import Invalid
from guilder.core.tokens import opaque_hash
from guilder.db.engine import Database
from guilder.domains.identity.commands.letters import (
    ClaimedLetter,
    MarkLetterSent,
    SendLetter,
    mark_letter_sent,
    send_letter,
)
from guilder.domains.identity.models import letters as letter_rows
from guilder.infra.process.logging import configure_logging
from guilder.infra.security.secrets import derived_key
from tests.access.making import built
from tests.access.world import ALL, World
from tests.cli.serving import environment, run
from tests.domains.identity.codes import code_at
from tests.hostile.canaries import Canaries, database_dump
from tests.support.app import app_on, bank_of, started
from tests.support.asking import JSON, Answer, RawHeaders, ask

API = "/api/v1"
TheDatabase = Annotated[Database, Depends(Part(Database))]
PURPOSES: Final = {
    "secret_key": ("tokens/ed25519", "tokens/refresh", "tokens/letter", "passkeys"),
    "encryption_key": ("passwords/pepper", "encryption"),
}
"""Of the keys that are made from each of the two."""


class Scene:
    """A bank that is asked, and all that it says."""

    def __init__(self, app: FastAPI, url: str, log: Path) -> None:
        self.app = app
        self.url = url
        self.log = log
        self.canaries = Canaries()
        self.begun = time.time() - 1
        self.said: list[tuple[str, bytes]] = []

    async def ask(
        self, method: str, target: str, body: object = None, headers: RawHeaders | None = None
    ) -> Answer:
        """Ask, and keep what was said unless it is a success, which may well hold a token."""
        raw = body if isinstance(body, bytes) else b"" if body is None else to_json(body)
        given = [*(headers or []), *(JSON if body is not None else [])]
        answer = await ask(self.app, method, target, given, raw)
        if answer.status >= 400 or "/metrics" in target or "openapi" in target:
            told = b"\n".join([*(b": ".join(pair) for pair in answer.headers), answer.body])
            self.said.append((f"the answer to {method} {target.partition('?')[0]}", told))
        return answer

    def secret(self, name: str) -> str:
        """A new one."""
        return self.canaries.add(name, f"Ca-{secrets.token_urlsafe(24)}")

    async def leaks(self) -> list[str]:
        """Every secret that came out."""
        logging.getLogger().handlers[0].flush()
        await self.ask("GET", "/metrics")
        await self.ask("GET", "/openapi.json")
        places = [("the log", self.log.read_bytes()), *self.said]
        places += await database_dump(self.url, self.begun)
        return self.canaries.found_in(places)


async def life_of_a_user(scene: Scene) -> None:
    """Everything that ordinary people do with secrets."""
    old, new = scene.secret("the first password"), scene.secret("the new password")
    wrong, form = scene.secret("a wrong password"), scene.secret("the password in a form")
    who = {"email": "ann@example.test", "password": old}
    made = await scene.ask("POST", f"{API}/users", who, [(b"idempotency-key", b"once")])
    assert made.status == 201
    assert (await scene.ask("POST", f"{API}/users", who)).code == "email_taken"
    guess = {**who, "password": wrong}
    assert (await scene.ask("POST", f"{API}/sessions", guess)).code == "invalid_credentials"
    await scene.ask("POST", f"{API}/sessions", {**who, "totp": wrong, "password": [wrong]})
    tokens = keep(scene, "a login's", await scene.ask("POST", f"{API}/sessions", who))
    again = {"refresh_token": tokens["refresh_token"]}
    fresh = keep(scene, "a refresh's", await scene.ask("POST", f"{API}/tokens", again))
    bearer = [(b"authorization", f"Bearer {fresh['access_token']}".encode())]
    change = {"current_password": old, "new_password": new}
    assert (await scene.ask("PUT", f"{API}/users/me/password", change, bearer)).status == 204
    assert (await scene.ask("PUT", f"{API}/users/me/password", change, bearer)).status == 403
    weak = {"current_password": new, "new_password": "password1234"}
    assert (await scene.ask("PUT", f"{API}/users/me/password", weak, bearer)).status == 422
    login = {"email": "ann@example.test", "password": new}
    keep(scene, "another login's", await scene.ask("POST", f"{API}/auth/login", login))
    encoded = f"email=ben%40example.test&password={form}".encode()
    typed = [(b"content-type", b"application/x-www-form-urlencoded")]
    signed_up = await ask(scene.app, "POST", "/auth/signup", typed, encoded)
    keep(scene, "a sign-up's", signed_up)
    await scene.ask("DELETE", f"{API}/sessions/current", headers=bearer)
    assert (await scene.ask("POST", f"{API}/tokens", again)).status == 401


async def second_factors(scene: Scene) -> None:
    """An authenticator app is set up, and its codes and its secret are given in wrong places."""
    who = {"email": "cas@example.test", "password": scene.secret("a password of one with an app")}
    assert (await scene.ask("POST", f"{API}/users", who)).status == 201
    tokens = keep(scene, "a login with an app's", await scene.ask("POST", f"{API}/sessions", who))
    bearer = [(b"authorization", f"Bearer {tokens['access_token']}".encode())]
    app = (await scene.ask("POST", f"{API}/users/me/totp", {}, bearer)).json()
    secret = scene.canaries.add("the secret of an app", app["secret"])
    code = code_at(b32decode(secret), bank_of(scene.app).clock)
    confirm = f"{API}/users/me/totp/confirmations"
    assert (await scene.ask("POST", confirm, {"code": secret[:20]}, bearer)).status == 403
    done = await scene.ask("POST", confirm, {"code": code}, bearer)
    codes = [scene.canaries.add("a recovery code", one) for one in done.json()["recovery_codes"]]
    for given in (secret, codes[0] + secret):
        login = {**who, "totp_code": given}
        assert (await scene.ask("POST", f"{API}/sessions", login)).status >= 400
    for status in (201, 401):
        login = {**who, "totp_code": codes[0]}
        assert (await scene.ask("POST", f"{API}/sessions", login)).status == status


async def letters(scene: Scene) -> None:
    """Letters are asked for, and their tokens used, well and badly."""
    for path in ("email-verification-tokens", "password-reset-tokens"):
        asked = await scene.ask("POST", f"{API}/{path}", {"email": "ann@example.test"})
        assert asked.status == 201
    for letter_id in await sent(scene):
        made = bank_of(scene.app).letters.tokens.token(letter_id)
        token = scene.canaries.add("the token of a letter", made)
        proof = {"token": token}
        reset = {**proof, "new_password": scene.secret("a password set by a letter")}
        for path, body in (
            ("email-verifications", proof), ("password-resets", {**reset, "new_password": "weak"}),
            ("password-resets", reset), ("password-resets", reset),
        ):  # fmt: skip
            assert (await scene.ask("POST", f"{API}/{path}", body)).status in {201, 400, 422}


async def sent(scene: Scene) -> list[UUID]:
    """Let the letters go that wait, without a mail server; gives their ids."""
    runner, tokens = bank_of(scene.app).runner, bank_of(scene.app).letters.tokens
    waiting = await runner.view(lambda view: view.all(select(letter_rows.c.id)))
    for (letter_id,) in waiting:
        command = SendLetter(letter_id, opaque_hash(tokens.token(letter_id)))
        if isinstance(await runner.run(send_letter, command, SYSTEM), ClaimedLetter):
            await runner.run(mark_letter_sent, MarkLetterSent(letter_id), SYSTEM)
    return [letter_id for (letter_id,) in waiting]


def keep(scene: Scene, whose: str, answer: Answer) -> dict[str, Any]:
    """Watch over the tokens of an answer; of an access token its signature is the secret part."""
    assert answer.status in (200, 201), answer.body
    body: dict[str, Any] = answer.json()
    scene.canaries.add(f"{whose} access token", body["access_token"])
    scene.canaries.add(f"{whose} signature", body["access_token"].rpartition(".")[2])
    scene.canaries.add(f"{whose} refresh token", body["refresh_token"])
    return body


async def secrets_in_wrong_places(scene: Scene, world: World) -> None:
    """Each operation of the reference with a secret where it does not belong."""
    secret = scene.secret("a secret in a wrong place")
    raw = secret.encode()
    bodies: list[object] = [
        {"password": secret, "no_such_field": secret}, {"amount": secret, secret[:9]: 1}, [secret],
        secret, raw, b'{"password":"' + raw + b'","password":"' + raw + b'"}',
        b'{"password":"' + raw + b'\\u0000"}', b'{"password":"' + raw, {"email": [secret]},
    ]  # fmt: skip
    headers: list[RawHeaders] = [
        [(b"authorization", b"Basic " + raw)], [(b"authorization", b"Bearer " + raw)],
        [(b"authorization", raw), (b"authorization", raw)], [(b"cookie", b"session=" + raw)],
        [(b"content-type", raw)], [(b"referer", b"http://bank.test/?token=" + raw)],
        [(b"content-encoding", raw)], [(b"content-length", raw)], [(b"x-forwarded-for", raw)],
        [(b"idempotency-key", raw + b"\xff")], [(b"accept", raw)], [(b"origin", raw)],
    ]  # fmt: skip
    for operation in ALL:
        path = operation.path.format_map(world.ids)
        token = [] if operation.permission is None else [
            (b"authorization", f"Bearer {world.tokens['root']}".encode())
        ]  # fmt: skip
        await scene.ask(operation.method, f"{path}?password={secret}", headers=token)
        await scene.ask(operation.method, f"{path}?{secret}=1", headers=token)
        await scene.ask(operation.method, f"{path}/{secret}", headers=token)
        await scene.ask(operation.method, f"/{secret}{path}", headers=token)
        if "{" in operation.path:
            inside = operation.path.format_map(dict.fromkeys(world.ids, secret))
            await scene.ask(operation.method, inside, headers=token)
        for given in headers:
            await scene.ask(operation.method, path, headers=given)
        if operation.has_body:
            for body in bodies:
                await scene.ask(operation.method, path, body, token)
    await scene.ask(secret, "/")
    await scene.ask("POST", f"/{secret}?{secret}={secret}", {secret: secret})


class Confided(RequestBody):
    password: str


async def crashes(scene: Scene) -> None:
    """A fault and a refusal by chance, with a secret in a local variable."""
    body = {"password": scene.secret("a password at the time of a crash")}
    assert (await scene.ask("POST", "/crash", body)).status == 500
    assert (await scene.ask("POST", "/crash-in-sql", body)).status == 500
    assert (await scene.ask("POST", "/refuse", body)).status == 422


def careless_routes() -> APIRouter:
    """Handlers that fail with secrets in their hands; the one that tells is planted."""
    router = APIRouter()

    @router.post("/crash")
    @rate_limited(HEALTH)
    async def crash(body: Confided, actor: AnonymousActor) -> None:
        password = body.password
        raise RuntimeError(f"{len(password)} characters")

    @router.post("/crash-in-sql")
    @rate_limited(HEALTH)
    async def crash_in_sql(body: Confided, actor: AnonymousActor, database: TheDatabase) -> None:
        async with database.begin() as connection:
            await connection.execute(text("SELECT :secret FROM nowhere"), {"secret": body.password})

    @router.post("/refuse")
    @rate_limited(HEALTH)
    async def refuse(body: Confided, actor: AnonymousActor) -> None:
        try:
            int(body.password)
        except ValueError:
            raise Invalid() from None

    @router.post("/tell")
    @rate_limited(HEALTH)
    async def tell(
        body: Confided, where: str, actor: AnonymousActor, database: TheDatabase
    ) -> None:
        match where:
            case "log":
                logging.getLogger("guilder.planted").debug("got %s", body.model_dump_json())
            case "field":
                given = {"fields": {"given": body.password}}
                logging.getLogger("guilder.planted").debug("got", extra=given)
            case "problem":
                raise Invalid(f"{body.password} is no good.")
            case "database":
                async with database.begin() as connection:
                    await connection.execute(
                        text("UPDATE identity_users SET full_name = :n"), {"n": body.password}
                    )

    return router


@contextmanager
def logging_to(file: Path, *, as_json: bool) -> Iterator[None]:
    """The log of this process at its most talkative, as ``guilder serve`` sets it up."""
    root = logging.getLogger()
    handlers, level, collected = root.handlers[:], root.level, dict(vars(logging))
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    handler = configure_logging("debug", as_json=as_json, descriptor=descriptor)
    try:
        yield
    finally:
        handler.flush()
        root.handlers[:] = handlers
        root.setLevel(level)
        vars(logging).update(collected)
        os.close(descriptor)


@asynccontextmanager
async def scene_on(url: str, folder: Path) -> AsyncIterator[tuple[Scene, World]]:
    """The bank on a database, with a log in JSON on SQLite and for eyes on PostgreSQL."""
    log, keys = folder / "log", {name: secrets.token_urlsafe(48) for name in PURPOSES}
    with logging_to(log, as_json=url.startswith("sqlite")):
        settings = {**keys, "require_email_verification": False}
        app = app_on(url, folder, log_level="debug", **settings)
        app.include_router(careless_routes())
        async with started(app) as client:
            world = await built(app, client)
            scene = Scene(app, url, log)
            for name, key in keys.items():
                scene.canaries.add(f"the {name}", key)
                for purpose in PURPOSES[name]:
                    scene.canaries.add(f"the key for {purpose}", derived_key(key.encode(), purpose))
            yield scene, world


async def test_no_secret_comes_out(
    database_url: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with scene_on(database_url, tmp_path) as (scene, world):
        await life_of_a_user(scene)
        await second_factors(scene)
        await letters(scene)
        await secrets_in_wrong_places(scene, world)
        await crashes(scene)
        await watch_hashes(scene)
        assert await scene.leaks() == []
        assert len(scene.said) > 500
        assert b"unhandled_error" in scene.log.read_bytes()
    told = "".join(capfd.readouterr()).encode()
    assert (
        scene.canaries.found_in([("the console", told), ("the log", scene.log.read_bytes())]) == []
    )


async def watch_hashes(scene: Scene) -> None:
    """What the database keeps of passwords and tokens may be nowhere else."""
    async with bank_of(scene.app).database.view() as connection:
        for encoded in await connection.scalars(text("SELECT password_hash FROM identity_users")):
            scene.canaries.add("the hash of a password", encoded, kept=True)


@pytest.mark.parametrize("where", ["log", "field", "problem", "database"])
async def test_a_planted_leak_is_found(database_url: str, tmp_path: Path, where: str) -> None:
    async with scene_on(database_url, tmp_path) as (scene, _):
        body = {"password": scene.secret("a password that is told")}
        answer = await scene.ask("POST", f"/tell?where={where}", body)
        assert answer.status == (422 if where == "problem" else 200)
        assert await scene.leaks() != []


@pytest.mark.heavy
def test_no_setting_is_shown_that_is_a_secret(tmp_path: Path) -> None:
    canaries = Canaries()
    given = {
        "SECRET_KEY": canaries.add("the secret key", secrets.token_urlsafe(48)),
        "DATABASE_URL": "postgresql://guilder:{}@127.0.0.1:1/bank".format(
            canaries.add("the database's password", secrets.token_urlsafe(24))
        ),
        "REDIS_URL": "redis://:{}@redis.test/0".format(
            canaries.add("the password of Redis", secrets.token_urlsafe(24))
        ),
        "MAIL_URL": "smtp://guilder:{}@mail.test:587".format(
            canaries.add("the mail server's password", secrets.token_urlsafe(24))
        ),
        "MAIL_FROM": "bank@example.test",
        "DATABASE_WAIT_SECONDS": "1",
    }
    values = environment("", tmp_path, **given)
    for command in (["settings"], ["settings", "--json"], ["openapi"], ["migrate"]):
        done = run(tmp_path, values, *command)
        told = [("standard output", done.stdout.encode()), ("standard error", done.stderr.encode())]
        assert canaries.found_in(told) == [], command
        assert done.returncode == (3 if command == ["migrate"] else 0), done.stderr
