"""Letters: proving an address, a new password, and what is told of wrong guesses."""

from base64 import b32decode

from tests.domains.identity.codes import code_at
from tests.golden.walk import PASSWORD, Person, Walk

NEW = "another quite long phrase"
WRONG = "wrong horse battery staple"


async def letters(walk: Walk) -> None:
    await asking(walk)
    dan = await walk.join("dan")
    await walk.ask("POST password-reset-tokens", None, {"email": "DAN@example.test"})
    token = walk.letter
    await walk.ask("POST password-reset-tokens", None, {"email": dan.email}, note="too soon")
    await walk.ask("POST email-verifications", None, {"token": token}, note="another purpose")
    sound = {"token": token, "new_password": NEW}
    for change in (
        {"new_password": "password1234"},
        {"new_password": dan.email},
        {"new_password": "short"},
        {"new_password": 7, "token": ""},
        {"token": "x" * 43},
        {"token": "x" * 101},
        {"email": dan.email},
    ):
        await walk.ask("POST password-resets", None, sound | change)
    await walk.ask("POST password-resets", None, sound)
    await walk.ask("POST password-resets", None, sound, note="used")
    await walk.ask("GET users/me", dan, note="ended")
    await walk.ask("POST sessions", None, {"email": dan.email, "password": PASSWORD})
    dan.password = NEW
    await walk.sign_in(dan)
    walk.clock.advance(minutes=4)
    await walk.ask("POST password-reset-tokens", None, {"email": dan.email})
    walk.clock.advance(minutes=15)
    late = {"token": walk.letter, "new_password": PASSWORD}
    await walk.ask("POST password-resets", None, late, note="expired")
    await locking(walk, dan)
    await giving_up_factors(walk)
    await moving(walk)


async def moving(walk: Walk) -> None:
    """To another address, back to the old one, and away."""
    gus = await walk.join("gus")
    for address in ("new.gus@example.test", "no address", 7, "ada@example.test"):
        await walk.ask("POST users/me/email-changes", gus, {"email": address})
    await walk.made("POST users/me/email-changes", gus, {"email": "new.gus@example.test"})
    token = walk.letter
    await walk.ask("POST email-changes", None, {"token": token})
    undo = walk.letter
    for given in ({"token": token}, {"token": "x" * 43}, {}):
        await walk.ask("POST email-changes", None, given)
    await walk.ask("GET users/me", gus)
    for password in ("too short", "another phrase 12", "another phrase 12"):
        reversal = {"token": undo, "new_password": password}
        await walk.ask("POST email-change-reversals", None, reversal)
    await walk.sign_in(gus, password="another phrase 12")
    await walk.ask("DELETE users/me", gus)
    await walk.ask("GET users/me", gus, note="closed")


async def giving_up_factors(walk: Walk) -> None:
    fay = await walk.join("fay")
    secret = b32decode((await walk.made("POST users/me/totp", fay))["secret"])
    code = {"code": code_at(secret, walk.clock)}
    await walk.ask("POST users/me/totp/confirmations", fay, code)
    await walk.ask("POST password-reset-tokens", None, {"email": fay.email})
    await walk.ask("POST password-resets", None, {"token": walk.letter, "new_password": NEW})
    token = walk.letter
    await walk.ask("POST password-resets", None, {"token": token, "new_password": NEW})
    for given in ({"token": token}, {"token": token}, {"token": 7}, {}):
        await walk.ask("POST factor-removals", None, given)


async def asking(walk: Walk) -> None:
    for path in ("email-verification-tokens", "password-reset-tokens"):
        await walk.ask(f"POST {path}", None, {"email": "nobody@example.test"})
        await walk.ask(f"POST {path}", None, {"email": "no address"})
        await walk.ask(f"POST {path}", None, {"email": 7, "name": "x"})
        await walk.ask(f"POST {path}", None, {})
    for token in ("x" * 43, "", None, 7, "x" * 101):
        await walk.ask("POST email-verifications", None, {"token": token})
    new = {"email": "eve@example.test", "password": PASSWORD}
    await walk.made("POST users", None, new)
    walk.clock.advance(days=1)
    await walk.ask("POST email-verifications", None, {"token": walk.letter}, note="expired")


async def locking(walk: Walk, dan: Person) -> None:
    elsewhere = {"User-Agent": "Stranger/1"}
    wrong = {"email": dan.email, "password": WRONG}
    for _ in range(5):
        await walk.ask("POST sessions", None, wrong, headers=elsewhere)
    right = wrong | {"password": dan.password}
    await walk.ask("POST sessions", None, right, headers=elsewhere, note="locked")
    await walk.ask("POST auth/login", None, right, headers=elsewhere, note="locked")
    await walk.ask("POST sessions", None, right, note="a known device")
    for _ in range(6):
        nobody = {"email": "nobody@example.test", "password": WRONG}
        await walk.ask("POST sessions", None, nobody, headers=elsewhere)
    walk.clock.advance(minutes=15)
    await walk.ask("POST sessions", None, right, headers=elsewhere, note="a new device")
