"""Passkeys: made, listed, used to come in and to step up, removed."""

from typing import Any

from tests.golden.walk import NOBODYS, Body, Person, Walk
from tests.support.authenticator import Authenticator

ORIGIN = "https://bank.example"


async def passkeys(walk: Walk) -> None:
    ada = walk.people["ada"]
    await walk.sign_in(ada)
    phone = Authenticator(ORIGIN)
    await walk.ask("GET passkeys", ada)
    await making(walk, ada, phone)
    await listing(walk, ada)
    await coming_in(walk, ada, phone)
    await removing(walk, ada, phone)


async def options(walk: Walk, path: str, who: Person | None = None) -> dict[str, Any]:
    found: dict[str, Any] = (await walk.made(f"POST passkeys/{path}", who))["public_key"]
    return found


async def making(walk: Walk, ada: Person, phone: Authenticator) -> None:
    credential = phone.create(await options(walk, "registrations", ada))
    sound: Body = {"name": "Phone", "credential": credential}
    changes: tuple[Body, ...] = (
        {"name": ""},
        {"name": "x" * 101},
        {"credential": {}},
        {"credential": None},
        {"credential": credential | {"type": "password", "rawId": "="}},
        {"credential": credential | {"response": {"clientDataJSON": 7}}},
        {"credential": credential | {"response": credential["response"] | {"transports": [1]}}},
        {"credential": credential, "x": 1},
    )
    for change in changes:
        await walk.ask("POST passkeys", ada, sound | change)
    await walk.ask("POST passkeys", walk.people["ben"], sound, note="a stranger")
    await walk.ask("POST passkeys", ada, sound)
    await walk.ask("POST passkeys", ada, sound, note="again")
    known = await options(walk, "registrations", ada)
    again = phone.create(known, id_=phone.keys[0].id)
    await walk.ask("POST passkeys", ada, {"name": "Twice", "credential": again}, note="taken")
    cheat = Authenticator("https://evil.example")
    wrong = cheat.create(await options(walk, "registrations", ada))
    await walk.ask("POST passkeys", ada, {"name": "Cheat", "credential": wrong})
    tablet = Authenticator(ORIGIN, counts=False)
    second = tablet.create(await options(walk, "registrations", ada))
    walk.clock.advance(minutes=6)
    late = {"name": "Tablet", "credential": second}
    await walk.ask("POST passkeys", ada, late, note="too late")
    await walk.ask("POST passkeys/registrations", ada, note="too long ago")
    await walk.sign_in(ada)
    third = tablet.create(await options(walk, "registrations", ada))
    await walk.ask("POST passkeys", ada, {"name": " Tablet ", "credential": third})
    del phone.keys[1:]


async def listing(walk: Walk, ada: Person) -> None:
    await walk.ask("GET passkeys", ada)
    page = await walk.made("GET passkeys?limit=1", ada)
    await walk.ask(f"GET passkeys?limit=1&cursor={page['next_cursor']}", ada)
    await walk.ask("GET passkeys?cursor=MQ", ada)
    await walk.ask("GET passkeys?limit=x&offset=-1", ada)
    await walk.ask("GET users/me/factors", ada)
    one = page["items"][0]["id"]
    for who, path in ((ada, one), (walk.people["ben"], one), (ada, NOBODYS)):
        await walk.ask(f"GET passkeys/{path}", who)
    await walk.ask("GET passkeys", walk.people["ben"])


async def coming_in(walk: Walk, ada: Person, phone: Authenticator) -> None:
    path = "POST passkeys/sessions"
    proof = phone.get(await options(walk, "challenges"))
    for credential in (
        {},
        None,
        proof | {"id": "!"},
        proof | {"response": proof["response"] | {"signature": "AAAA"}},
        proof | {"id": "AAAA", "rawId": "AAAA"},
        proof | {"response": proof["response"] | {"more": 1}},
    ):
        await walk.ask(path, None, {"credential": credential})
    await walk.ask(path, None, {"credential": proof})
    await walk.ask(path, None, {"credential": proof}, note="used")
    old = phone.get(await options(walk, "challenges"))
    walk.clock.advance(minutes=6)
    await walk.ask(path, None, {"credential": old}, note="too late")
    await walk.sign_in(ada)
    step = "POST sessions/current/step-ups"
    proof = phone.get(await options(walk, "challenges"))
    ben = walk.people["ben"]
    await walk.sign_in(ben)
    await walk.ask(step, ben, {"credential": proof}, note="a stranger")
    await walk.ask(step, ada, {"credential": proof})
    await walk.ask(step, ada, {"credential": proof}, note="used")
    await walk.ask(step, ada, {"credential": {}})
    await walk.ask("GET passkeys", ada)


async def removing(walk: Walk, ada: Person, phone: Authenticator) -> None:
    one, other = (item["id"] for item in (await walk.made("GET passkeys", ada))["items"])
    for wrong in (NOBODYS, "x"):
        await walk.ask(f"DELETE passkeys/{wrong}", ada)
    await walk.ask(f"DELETE passkeys/{one}", walk.people["ben"], note="a stranger")
    walk.clock.advance(minutes=5)
    await walk.ask(f"DELETE passkeys/{one}", ada, note="too long ago")
    await walk.sign_in(ada)
    await walk.ask(f"DELETE passkeys/{one}", ada)
    await walk.ask(f"DELETE passkeys/{one}", ada, note="again")
    await walk.ask(f"DELETE passkeys/{other}", ada)
    proof = phone.get(await options(walk, "challenges"))
    await walk.ask("POST passkeys/sessions", None, {"credential": proof}, note="removed")
