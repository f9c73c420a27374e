"""An authenticator app, recovery codes and stepping up."""

from base64 import b32decode

from tests.domains.identity.codes import code_at
from tests.golden.walk import PASSWORD, Person, Walk

WRONG = "000000"


async def factors(walk: Walk) -> None:
    ada = walk.people["ada"]
    await walk.sign_in(ada)
    await walk.ask("GET users/me/factors", ada)
    await walk.ask("DELETE users/me/totp", ada)
    await walk.ask("POST users/me/recovery-codes", ada)
    await walk.ask("POST users/me/totp/confirmations", ada, {"code": WRONG}, note="none begun")
    await walk.ask("POST sessions/current/step-ups", ada, {"totp_code": WRONG}, note="no app")
    secret = b32decode((await walk.made("POST users/me/totp", ada))["secret"])
    await walk.ask("GET users/me/factors", ada)
    for wrong in (WRONG, "", "x" * 65, 7, None):
        await walk.ask("POST users/me/totp/confirmations", ada, {"code": wrong})
    code = {"code": code_at(secret, walk.clock)}
    codes = (await walk.made("POST users/me/totp/confirmations", ada, code))["recovery_codes"]
    await walk.ask("POST users/me/totp/confirmations", ada, code, note="again")
    await walk.ask("POST users/me/totp", ada, note="a second one")
    await walk.ask("GET users/me/factors", ada)
    await coming_in(walk, ada, secret, codes)
    await stepping_up(walk, ada, secret, codes)
    await giving_up(walk, ada, secret)


async def coming_in(walk: Walk, ada: Person, secret: bytes, codes: list[str]) -> None:
    login = {"email": ada.email, "password": PASSWORD}
    await walk.ask("POST sessions", None, login)
    await walk.ask("POST auth/login", None, login)
    await walk.ask("POST sessions", None, login | {"totp_code": WRONG})
    await walk.ask("POST auth/login", None, login | {"totp_code": WRONG})
    walk.clock.advance(minutes=1)
    code = code_at(secret, walk.clock)
    await walk.ask("POST sessions", None, login | {"totp_code": code})
    await walk.ask("POST sessions", None, login | {"totp_code": code}, note="used")
    await walk.ask("POST auth/login", None, login | {"totp_code": codes[0].lower()})
    await walk.ask("POST auth/login", None, login | {"totp_code": codes[0]}, note="used")
    await walk.sign_in(ada, totp_code=codes[1])
    await walk.ask("GET users/me/factors", ada)


async def stepping_up(walk: Walk, ada: Person, secret: bytes, codes: list[str]) -> None:
    path = "POST sessions/current/step-ups"
    await walk.ask(path, ada, {"password": PASSWORD})
    await walk.ask(path, ada, {"password": "wrong horse battery"})
    await walk.ask(path, ada, {"totp_code": WRONG})
    await walk.ask(path, ada, {})
    await walk.ask(path, ada, {"password": PASSWORD, "totp_code": codes[2]})
    await walk.ask(path, ada, {"password": None, "totp_code": "", "x": 1})
    walk.clock.advance(minutes=5)
    for line in ("POST users/me/recovery-codes", "DELETE users/me/totp", "POST users/me/totp"):
        await walk.ask(line, ada, note="long ago")
    await walk.ask(path, ada, {"totp_code": code_at(secret, walk.clock)})
    await walk.ask("POST users/me/recovery-codes", ada)
    await walk.ask(path, ada, {"totp_code": codes[2]}, note="an old one")
    for _ in range(5):
        await walk.ask(path, ada, {"totp_code": WRONG})
    await walk.ask(path, ada, {"totp_code": code_at(secret, walk.clock)}, note="locked")


async def giving_up(walk: Walk, ada: Person, secret: bytes) -> None:
    stranger = {"User-Agent": "Stranger/2"}
    login = {"email": ada.email, "password": PASSWORD, "totp_code": WRONG}
    for _ in range(5):
        await walk.ask("POST sessions", None, login, headers=stranger)
    walk.clock.advance(minutes=15)
    await walk.sign_in(ada, totp_code=code_at(secret, walk.clock))
    await walk.ask("DELETE users/me/totp", ada)
    await walk.ask("DELETE users/me/totp", ada, note="again")
    await walk.sign_in(ada)
    await walk.ask("POST sessions/current/step-ups", ada, {"password": PASSWORD})
    await walk.ask("POST sessions/current/step-ups", ada, {"password": "wrong"})
    begun = b32decode((await walk.made("POST users/me/totp", ada))["secret"])
    walk.clock.advance(minutes=16)
    walk.takes(ada, await walk.made("POST tokens", None, {"refresh_token": ada.refresh_token}))
    code = {"code": code_at(begun, walk.clock)}
    await walk.ask("POST users/me/totp/confirmations", ada, code, note="begun too long ago")
