"""A walk through every operation of the reference, by who may do it, with an eye on all rows."""

from base64 import b32decode
from typing import Any
from uuid import UUID

from guilder.core.actor import SYSTEM
from guilder.core.clock import to_datetime
from guilder.core.tokens import opaque_hash
from guilder.domains.identity.commands.letters import SendLetter, send_letter
from tests.access.effects import ALSO, THOUGH_REFUSED, UNSIGNED, WHOSE, Owner, Watch, watching
from tests.access.world import (
    ACCOUNT,
    ALL,
    AMOUNT,
    ANYTHING,
    API,
    GRACE,
    PASSWORD,
    World,
    email_of,
    keyed,
)
from tests.domains.identity.codes import code_at
from tests.support.app import bank_of
from tests.support.authenticator import Authenticator

ANOTHER = "another horse battery"
OPERATIONS = {one.name.replace(f" {API}/", " /"): one for one in ALL}
STORES_NOTHING = {"POST /passkeys/registrations", "POST /passkeys/challenges"}
"""What is signed and given away."""
ENDS_HER_SESSION = {
    "POST /password-resets", "POST /factor-removals", "POST /email-change-reversals",
}  # fmt: skip
UNUSED = {"rate_limits", "identity_repeated_sign_ups"}
"""Tables without a row: for the tests of access ask more often than anybody may, and whoever has
signed up signs in at once.
"""


class Caller:
    """Does one thing after the other; each time the rows of everybody are looked at."""

    def __init__(self, world: World, watch: Watch, name: str, named: str | None = None) -> None:
        self.world = world
        self.watch = watch
        self.name = name
        self.id: Owner = world.people.get(name, name)
        self.email = email_of(name)
        self.phone = Authenticator(bank_of(world.app).settings.address)
        self.done: set[str] = set()
        self._named = None if named is None else world.people[named]

    async def does(
        self, what: str, body: dict[str, Any] | None = None, *, refused: str | None = None,
        with_key: bool = False, query: dict[str, str] | None = None, **ids: str,
    ) -> Any:  # fmt: skip
        """Do it and give the answer's body; or be ``refused`` with that code."""
        operation = OPERATIONS[what]
        answer = await self.world.client.request(
            operation.method, operation.path.format_map(ids), json=body,
            params=query,
            headers=self.world.as_(self.name) | (keyed(what.partition("/")[2]) if with_key else {}),
        )  # fmt: skip
        told = f"{operation.name}: {answer.status_code} {answer.text[:300]}"
        beyond = await self.watch.beyond(
            operation.name, self.id, refused=answer.is_error, named=self._named
        )
        assert beyond == [], told
        assert (answer.json()["code"] if answer.is_error else None) == refused, told
        if refused is None:
            is_write = operation.method != "GET" and what not in STORES_NOTHING
            assert bool(self.watch.changed) is is_write, told
        self.done.add(what)
        if answer.status_code == 201:
            await self._finds(what, answer.headers["location"])
        return answer.json() if "json" in answer.headers.get("content-type", "") else None

    async def _finds(self, what: str, place: str) -> None:
        """Look where they were told that what they have made is."""
        there = await self.world.client.get(place, headers=self.world.as_(self.name))
        nobody = self.name not in self.world.people or what in ENDS_HER_SESSION
        assert there.status_code == (401 if nobody else 200), f"{what}: {place} {there.text}"

    async def gets(self, purpose: str) -> str:
        """The token that the newest letter to them brings, which goes out now."""
        letters = self.watch.rows["identity_letters"].values()
        mine = [one.id for one in letters if (one.user_id, one.purpose) == (self.id, purpose)]
        letter_id: UUID = max(mine)
        bank = bank_of(self.world.app)
        token = bank.letters.tokens.token(letter_id)
        await bank.runner.run(send_letter, SendLetter(letter_id, opaque_hash(token)), SYSTEM)
        assert await self.watch.beyond("a letter goes out", self.id, refused=False) == []
        return token

    async def signs(self) -> dict[str, Any]:
        """What their passkey says to a challenge."""
        return self.phone.get((await self.does("POST /passkeys/challenges"))["public_key"])


async def everything(world: World) -> set[str]:
    """Do all there is to do, Eve with what is hers and an admin with what is Bob's.

    Gives the operations that were done; fails when one changes what it may not.
    """
    watch = await watching(bank_of(world.app).database)
    eve, root = Caller(world, watch, "eve"), Caller(world, watch, "root", named="bob")
    assert watch.rows.keys() == WHOSE.keys() | UNSIGNED  # whose are the rows of a new table?
    assert {table for table in watch.rows if not watch.owners(table) - {eve.id}} == UNUSED
    await _knocks(Caller(world, watch, "stranger", named="ada"))
    await _moves_money(eve)
    await _comes_and_goes(eve)
    await _has_an_app(eve)
    await _has_a_passkey(eve)
    await _gets_letters(eve)
    zoe = Caller(world, watch, "zoe")
    await zoe.does("DELETE /users/me")
    await _administers(root)
    lines = {(line, table) for line in ALSO + THOUGH_REFUSED for table in line.tables}
    assert lines - watch.used == set()  # what may change does: nobody may more than they need
    return eve.done | zoe.done | root.done


async def _knocks(stranger: Caller) -> None:
    """Knows Ada's address, and that is all."""
    login = {"email": email_of("ada"), "password": ANOTHER}
    guess = {"token": "A" * 43}
    for way in ("POST /users", "POST /auth/signup"):
        await stranger.does(way, login, refused="email_taken")
    for way in ("POST /sessions", "POST /auth/login"):
        await stranger.does(way, login, refused="invalid_credentials")
    for letter in ("POST /email-verification-tokens", "POST /password-reset-tokens"):
        await stranger.does(letter, {"email": email_of("ada")})
    await stranger.does("POST /email-verifications", guess, refused="token_invalid")
    reset = guess | {"new_password": ANOTHER}
    await stranger.does("POST /password-resets", reset, refused="token_invalid")
    await stranger.does("POST /email-change-reversals", reset, refused="token_invalid")
    for what in ("factor-removals", "email-changes"):
        await stranger.does(f"POST /{what}", guess, refused="token_invalid")
    await stranger.does("POST /tokens", {"refresh_token": "A" * 43}, refused="refresh_invalid")
    asked = (await stranger.does("POST /passkeys/challenges"))["public_key"]
    stranger.phone.create(ANYTHING | {"rp": {"id": asked["rpId"]}})
    signed = {"credential": stranger.phone.get(asked)}
    await stranger.does("POST /passkeys/sessions", signed, refused="invalid_passkey")


async def _moves_money(eve: Caller) -> None:
    """With keys that Bob has chosen as well, which are hers all the same."""
    account = (await eve.does("POST /accounts", ACCOUNT, with_key=True))["id"]
    other = (await eve.does("POST /accounts", ACCOUNT))["id"]
    await eve.does("POST /simulations/deposits", {"account_id": account, **AMOUNT}, with_key=True)
    there = {"from_account_id": account, "to_account_id": other, "amount": 1}
    back = {"from_account_id": other, "to_account_id": account, "amount": 1}
    transfer = (await eve.does("POST /transfers", there, with_key=True))["id"]
    await eve.does("POST /transfers/batches", {"transfers": [back]}, with_key=True)
    await eve.does("PUT /simulations/clock", {"advance_seconds": 1})
    for what in ("products", "accounts", "transfers", "simulations/clock"):
        await eve.does(f"GET /{what}")
    await eve.does("GET /transfers/{transfer_id}", transfer_id=transfer)
    for what in ("", "/balance", "/transactions"):
        await eve.does(f"GET /accounts/{{account_id}}{what}", account_id=account)
    month = f"{to_datetime(bank_of(eve.world.app).clock.now_us()):%Y-%m}"
    await eve.does(
        "GET /accounts/{account_id}/statement", account_id=account, query={"month": month}
    )


async def _comes_and_goes(eve: Caller) -> None:
    login = {"email": eve.email, "password": PASSWORD}
    wrong = login | {"password": ANOTHER}
    second = (await eve.does("POST /sessions", login))["session"]["id"]
    await eve.does("GET /sessions")
    await eve.does("GET /sessions/{session_id}", session_id=second)
    await eve.does("DELETE /sessions/{session_id}", session_id=second)
    used = (await eve.does("POST /auth/login", login))["refresh_token"]
    next_ = (await eve.does("POST /tokens", {"refresh_token": used}))["refresh_token"]
    await eve.does("POST /tokens", {"refresh_token": next_})
    await eve.does("POST /tokens", {"refresh_token": used}, refused="refresh_reused")
    for _ in range(2):
        await eve.does("POST /sessions", wrong, refused="invalid_credentials")
    revoked = await eve.does("POST /sessions", login)
    await eve.does("POST /auth/revoke", {"token": revoked["refresh_token"]})
    await eve.does("POST /sessions", login)
    await eve.does("DELETE /sessions")
    await eve.does("GET /users/me")
    await eve.does("PATCH /users/me", {"full_name": "Eve"})
    change = {"current_password": PASSWORD, "new_password": ANOTHER}
    for _ in range(2):
        await eve.does(
            "PUT /users/me/password", change | {"current_password": "?"}, refused="wrong_password"
        )
    await eve.does("PUT /users/me/password", change)
    new = {"email": "new@example.test", "password": PASSWORD}
    await eve.does("POST /users", new)
    await eve.does("POST /auth/signup", new | {"email": "newer@example.test"})


async def _has_an_app(eve: Caller) -> None:
    clock, step_up = bank_of(eve.world.app).clock, "POST /sessions/current/step-ups"
    await eve.does("POST /users/me/totp")
    secret = b32decode((await eve.does("POST /users/me/totp"))["secret"])
    code = code_at(secret, clock, -1)
    made = await eve.does("POST /users/me/totp/confirmations", {"code": code})
    await eve.does("GET /users/me/factors")
    for _ in range(2):
        await eve.does(step_up, {"totp_code": "000000"}, refused="wrong_factor")
    await eve.does(step_up, {"totp_code": made["recovery_codes"][0]})
    await eve.does(step_up, {"totp_code": code_at(secret, clock)})
    made = await eve.does("POST /users/me/recovery-codes")
    login = {"email": eve.email, "password": ANOTHER, "totp_code": made["recovery_codes"][0]}
    await eve.does("POST /sessions", login)


async def _has_a_passkey(eve: Caller) -> None:
    """And gives it up, and the app."""
    options = (await eve.does("POST /passkeys/registrations"))["public_key"]
    made = await eve.does(
        "POST /passkeys", {"name": "Phone", "credential": eve.phone.create(options)}
    )
    await eve.does("GET /passkeys")
    await eve.does("GET /passkeys/{passkey_id}", passkey_id=made["id"])
    await eve.does("POST /passkeys/sessions", {"credential": await eve.signs()})
    await eve.does("POST /sessions/current/step-ups", {"credential": await eve.signs()})
    await eve.does("DELETE /passkeys/{passkey_id}", passkey_id=made["id"])
    await eve.does("DELETE /users/me/totp")


async def _gets_letters(eve: Caller) -> None:
    """And has a new password at last, with which she comes in once more."""
    await eve.does("POST /email-verification-tokens", {"email": eve.email})
    await eve.does("POST /email-verifications", {"token": await eve.gets("verification")})
    options = (await eve.does("POST /passkeys/registrations"))["public_key"]
    await eve.does("POST /passkeys", {"name": "Old", "credential": eve.phone.create(options)})
    await eve.does("POST /password-reset-tokens", {"email": eve.email})
    token = await eve.gets("reset")
    await eve.does("POST /password-resets", {"token": token, "new_password": PASSWORD})
    await eve.does("POST /factor-removals", {"token": await eve.gets("factors")})
    eve.world.tokens["eve"] = (await eve.world.login("eve"))["access_token"]
    await eve.watch.changes()
    await eve.does("DELETE /sessions/current")
    eve.world.tokens["eve"] = (await eve.world.login("eve"))["access_token"]
    await eve.watch.changes()
    await eve.does("POST /users/me/email-changes", {"email": "eva@example.test"})
    await eve.does("POST /email-changes", {"token": await eve.gets("new_email")})
    undo = {"token": await eve.gets("undo_email"), "new_password": PASSWORD}
    await eve.does("POST /email-change-reversals", undo)
    eve.world.tokens["eve"] = (await eve.world.login("eve"))["access_token"]
    await eve.watch.changes()
    await eve.does("DELETE /users/me", refused="accounts_hold_money")


async def _administers(root: Caller) -> None:
    """Bob alone, until it is about everybody."""
    bob = str(root.world.people["bob"])
    for what in ("", "health", "health/live", "health/ready", "metrics"):
        await root.does(f"GET /{what}")
    await root.does("GET /admin/users")
    await root.does("GET /admin/audit-events")
    await root.does("GET /admin/users/{user_id}", user_id=bob)
    accounts = root.watch.rows["accounts"].values()
    account = next(str(one.id) for one in accounts if str(one.owner_user_id) == bob)
    await root.does("POST /simulations/deposits", {"account_id": account, **AMOUNT})
    await root.does("DELETE /admin/users/{user_id}/factors", user_id=bob)
    root.world.tokens["bob"] = (await root.world.login("bob"))["access_token"]
    await root.watch.changes()
    await root.does("PATCH /admin/users/{user_id}", {"is_active": False}, user_id=bob)
    await root.does("POST /admin/users/{user_id}/rotations", GRACE, user_id=bob, with_key=True)
    await root.does("POST /admin/security/rotations", GRACE)
