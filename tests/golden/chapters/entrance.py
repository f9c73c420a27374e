"""Signing up, signing in, refreshing, and the forms of OAuth2."""

import json
from base64 import urlsafe_b64decode
from urllib.parse import urlencode

from tests.golden.walk import NOTHING, PASSWORD, Body, Person, Walk

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
WRONG = "wrong horse battery staple"


async def entrance(walk: Walk) -> None:
    ada = walk.people["ada"] = Person("ada")
    await signing_up(walk, ada)
    await signing_in(walk, ada)
    await by_forms(walk, ada)
    await refreshing(walk, ada)


async def signing_up(walk: Walk, ada: Person) -> None:
    sound: Body = {"email": ada.email, "password": PASSWORD, "full_name": " Ada  Lovelace "}
    await walk.ask("POST users", None, sound, key="sign up")
    await walk.ask("POST users", None, sound, key="sign up", note="replayed")
    await walk.ask("POST users", None, sound | {"full_name": None}, key="sign up", note="another")
    await walk.ask("POST users", None, sound, key="")
    for change in (
        {"email": "dora@example.test"},
        {"email": "DORA@example.test"},
        {"email": "ada"},
        {"email": 7},
        {"email": f"{'a' * 250}@x.test"},
        {"email": "new@example.test", "password": "short"},
        {"email": "new@example.test", "password": "password1234"},
        {"email": "new@example.test", "password": "new@example.test"},
        {"email": "new@example.test", "password": "x" * 129},
        {"email": "new@example.test", "password": "x" * 1_025},
        {"email": "new@example.test", "password": None, "full_name": ""},
        {"email": "new@example.test", "full_name": "a\tb", "role": "admin"},
        {"email": "new@example.test", "full_name": "x" * 101},
    ):
        await walk.ask("POST users", None, sound | change)
    await walk.ask("POST users", None, {})
    await walk.ask("POST auth/signup", None, {"email": "bob@example.test", "password": PASSWORD})
    given = {"email": "cyd@EXAMPLE.test", "password": PASSWORD, "full_name": "Cyd"}
    await walk.ask("POST /auth/signup", raw=urlencode(given).encode(), headers=FORM)
    await walk.ask("POST /auth/signup", raw=urlencode(given).encode(), headers=FORM)


async def signing_in(walk: Walk, ada: Person) -> None:
    login = {"email": ada.email, "password": PASSWORD}
    await walk.ask("POST sessions", None, login, note="not proved")
    await walk.ask("POST auth/login", None, login, note="not proved")
    await walk.ask("POST email-verification-tokens", None, {"email": ada.email}, note="too soon")
    walk.clock.advance(minutes=4)
    await walk.ask("POST email-verification-tokens", None, {"email": ada.email})
    await walk.ask("POST email-verifications", None, {"token": walk.letter})
    await walk.ask("POST email-verifications", None, {"token": walk.letter}, note="used")
    await walk.ask("POST email-verification-tokens", None, {"email": ada.email}, note="proved")
    walk.takes(ada, await walk.made("POST sessions", None, login))
    header, claims = (
        json.loads(urlsafe_b64decode(part + "==")) for part in ada.token.split(".")[:2]
    )
    walk.remark("What the access token says", f"{json.dumps(header)}\n{json.dumps(claims)}")
    await walk.ask("POST sessions", None, login | {"email": "ADA@EXAMPLE.TEST"})
    for change in (
        {"password": WRONG},
        {"email": "nobody@example.test"},
        {"email": "no address"},
        {"password": 7},
        {"password": "x" * 1_025},
        {"email": ""},
        {"totp_code": ""},
        {"totp_code": "123456"},
        {"device": "phone"},
    ):
        await walk.ask("POST sessions", None, login | change)
    agent = {"User-Agent": "Phone/2 \u00e9 " + "x" * 300}
    await walk.ask("POST sessions", None, login, headers=agent, note="a new device")
    await walk.ask("POST sessions", None, login, headers={"User-Agent": ""}, note="no device")


async def by_forms(walk: Walk, ada: Person) -> None:
    login = {"username": ada.email, "password": PASSWORD}
    for path in ("auth/login", "/auth/login"):
        await walk.ask(f"POST {path}", raw=urlencode(login).encode(), headers=FORM)
        await walk.ask(f"POST {path}", None, login)
    oauth = {"grant_type": "password", "scope": "", "client_id": "app", "client_secret": "s"}
    await walk.ask("POST /auth/login", raw=urlencode(login | oauth).encode(), headers=FORM)
    for raw in (
        urlencode(login | {"password": WRONG}),
        urlencode(login | {"email": ada.email}),
        urlencode(login | {"grant_type": "code"}),
        urlencode(login) + "&password=again",
        urlencode(login) + "&a=" * 30,
        "username=a%00b&password=c",
        "username=%FF&password=c",
        "username=\u00e9",
        "",
    ):
        await walk.ask("POST /auth/login", raw=raw.encode(), headers=FORM)
    made = await walk.made("POST auth/login", None, login)
    renewed = {"grant_type": "refresh_token", "refresh_token": made["refresh_token"]}
    again = await walk.made("POST /auth/login", None, renewed)
    unknown = urlencode(renewed | {"refresh_token": "x", "odd": "x"}).encode()
    await walk.ask("POST tokens", raw=unknown, headers=FORM)
    for _ in range(2):
        await walk.ask("POST auth/revoke", None, {"token": again["refresh_token"]})
    await walk.ask("POST auth/revoke", raw=b"token=x&token_type_hint=", headers=FORM)
    await walk.ask("GET /.well-known/oauth-authorization-server")
    text = {"Content-Type": "text/plain"}
    await walk.ask("POST /auth/login", raw=b"a", headers=text)
    await walk.ask("POST /auth/signup", raw=b"a", headers=text)
    await walk.ask("POST /auth/signup", raw=b"email=x&age=7", headers=FORM)
    await walk.ask("POST /auth/login", None, NOTHING)


async def refreshing(walk: Walk, ada: Person) -> None:
    first = {"refresh_token": ada.refresh_token}
    second = await walk.made("POST tokens", None, first)
    await walk.ask("POST tokens", None, first, note="a moment later")
    walk.takes(ada, second)
    await walk.ask("GET users/me", ada)
    third = await walk.made("POST tokens", None, {"refresh_token": ada.refresh_token})
    await walk.ask("POST tokens", None, first, note="reused")
    await walk.ask("POST tokens", None, {"refresh_token": third["refresh_token"]}, note="ended")
    for token in ("x" * 43, "", 7, "x" * 101):
        await walk.ask("POST tokens", None, {"refresh_token": token})
