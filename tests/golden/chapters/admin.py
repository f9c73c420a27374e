"""The users as an admin sees and changes them, and the audit trail."""

from tests.golden.walk import NOBODYS, PASSWORD, Person, Walk
from tests.support.app import bank_of


async def admin(walk: Walk) -> None:
    root, ron = await walk.join("root"), await walk.join("ron")
    await walk.execute(
        "UPDATE identity_users SET role = 'admin' WHERE email = :email", email=root.email
    )
    await walk.sign_in(root)
    bank_of(walk.app).tokens.forget()
    await users(walk, root)
    await changes(walk, root, ron)
    await as_admin(walk, root)
    await lost_factors(walk, root, ron)
    await last_admin(walk, root)


async def users(walk: Walk, root: Person) -> None:
    ada = walk.people["ada"]
    await walk.ask("GET admin/users", root)
    page = await walk.made("GET admin/users?limit=2", root)
    await walk.ask(f"GET admin/users?limit=2&cursor={page['next_cursor']}", root)
    for query in (
        "q=ADA", "q=lovelace", "q=%25", "q=_", "q=", "q=" + "x" * 101, "role=admin",
        "role=readonly", "role=king", "is_active=false", "is_active=1",
        "is_active=true&role=user&q=b",
        "limit=0", "cursor=YQ", "cursor=*", "offset=3&limit=1", "email=a",
    ):  # fmt: skip
        await walk.ask(f"GET admin/users?{query}", root)
    await walk.ask(f"GET admin/users/{ada.id}", root)
    for wrong in (NOBODYS, "x", "me"):
        await walk.ask(f"GET admin/users/{wrong}", root)


async def changes(walk: Walk, root: Person, ron: Person) -> None:
    path = f"PATCH admin/users/{ron.id}"
    await walk.ask(path, root, {"role": "readonly"})
    for body in (
        {},
        {"role": None, "is_active": None},
        {"role": "king"},
        {"role": 1, "is_active": "no"},
        {"is_active": 0},
        {"email": "x@y.test"},
    ):
        await walk.ask(path, root, body)
    for wrong in (NOBODYS, "x"):
        await walk.ask(f"PATCH admin/users/{wrong}", root, {"role": "user"})
    await walk.ask(path, root, {"is_active": False})
    await walk.ask("GET users/me", ron, note="switched off")
    await walk.ask("POST sessions", None, {"email": ron.email, "password": PASSWORD})
    await walk.ask("POST tokens", None, {"refresh_token": ron.refresh_token})
    await walk.ask(path, root, {"is_active": True})
    await walk.sign_in(ron)
    await walk.ask("POST accounts", ron, {"type": "checking", "currency": "USD"})
    await walk.ask("GET users/me", ron)


async def as_admin(walk: Walk, root: Person) -> None:
    """What an admin sees of others' accounts, and may do with them."""
    account = walk.things["bens"]["id"]
    await walk.ask(f"GET accounts/{account}", root)
    await walk.ask(f"GET accounts/{account}/balance", root)
    await walk.ask(f"GET accounts/{account}/transactions?limit=2", root)
    await walk.ask(f"GET accounts/{account}/statement?month=2027-02", root)
    await walk.ask("GET accounts", root)
    await walk.ask("GET transfers", root)
    deposit = {"account_id": account, "amount": 500, "currency": "USD"}
    made = await walk.made("POST simulations/deposits", root, deposit)
    await walk.ask(f"GET transfers/{made['id']}", root)
    pay = {"from_account_id": account, "to_account_id": walk.things["a"]["id"], "amount": 1}
    await walk.ask("POST transfers", root, pay)


async def lost_factors(walk: Walk, root: Person, ron: Person) -> None:
    await walk.made("POST users/me/totp", ron)
    path = f"DELETE admin/users/{ron.id}/factors"
    await walk.ask(path, ron, note="not an admin")
    walk.clock.advance(minutes=5)
    await walk.ask(path, root, note="too long ago")
    await walk.sign_in(root)
    await walk.ask(path, root)
    await walk.ask("GET users/me", ron, note="ended")
    for wrong in (NOBODYS, "x"):
        await walk.ask(f"DELETE admin/users/{wrong}/factors", root)


async def last_admin(walk: Walk, root: Person) -> None:
    path = f"PATCH admin/users/{root.id}"
    for body in ({"role": "user"}, {"is_active": False}, {"role": "admin", "is_active": True}):
        await walk.ask(path, root, body)


async def audit(walk: Walk) -> None:
    root, ada, ben = (walk.people[name] for name in ("root", "ada", "ben"))
    await walk.sign_in(root)
    path = "GET admin/audit-events"
    await walk.ask(path, root)
    page = await walk.made(f"{path}?limit=2", root)
    await walk.ask(f"{path}?limit=2&cursor={page['next_cursor']}", root)
    for query in (
        f"actor=user:{ben.id}", "actor=anonymous&limit=5", "actor=system&limit=5", "actor=nobody",
        "action=user.create&phase=failed", "action=session.open&limit=3", "phase=failed",
        "phase=begun", f"subject={ada.id}&limit=20", "from=2027-01-16&limit=2", "to=2027-01-14",
        "from=2027-01-15T08:00:00Z&to=2027-01-15T08:00:30Z", "from=x", "to=2027-02-30",
        "action=" + "x" * 101, "limit=1&offset=3", "limit=0", "cursor=YQ", "cursor=*", "code=x",
    ):  # fmt: skip
        await walk.ask(f"{path}?{query}", root)
    await walk.ask(path, ada, note="expired")
    await walk.sign_in(ada)
    await walk.ask(path, ada, note="not an admin")
    for action in await actions(walk):
        await walk.ask(f"{path}?action={action}&phase=succeeded&limit=1", root)
        await walk.ask(f"{path}?action={action}&phase=failed&limit=1", root)


async def actions(walk: Walk) -> list[str]:
    """Everything that has been done so far, by name."""
    async with walk.office.database.view() as connection:
        found = await connection.exec_driver_sql("SELECT DISTINCT action FROM audit_events")
        return sorted(row[0] for row in found)


async def rotations(walk: Walk) -> None:
    root, ben = walk.people["root"], walk.people["ben"]
    await walk.sign_in(root)
    await walk.sign_in(ben)
    everybody, one = "POST admin/security/rotations", f"POST admin/users/{ben.id}/rotations"
    breach = {"reason": " A laptop was stolen "}
    for path in (one, everybody):
        for change in (
            {"reason": ""}, {"reason": None}, {"reason": "x" * 256}, {"grace_seconds": -1},
            {"grace_seconds": 86_401}, {"grace_seconds": "1"}, {"version": 2},
        ):  # fmt: skip
            await walk.ask(path, root, breach | change)
        await walk.ask(path, ben, breach, note="not an admin")
    for wrong in (NOBODYS, "x"):
        await walk.ask(f"POST admin/users/{wrong}/rotations", root, breach)
    await walk.ask(one, root, breach | {"grace_seconds": 3_600})
    await walk.ask("GET users/me", ben, note="within the grace")
    await walk.ask(one, root, breach, key="rotate")
    await walk.ask(one, root, breach, key="rotate", note="replayed")
    await walk.ask(one, root, breach | {"reason": "x"}, key="rotate", note="another")
    await walk.ask("GET users/me", ben, note="refused")
    await walk.ask("POST tokens", None, {"refresh_token": ben.refresh_token})
    await walk.sign_in(ben)
    await walk.ask("GET sessions?limit=2", ben)
    await walk.ask(everybody, root, breach)
    for who in (root, ben):
        await walk.ask("GET users/me", who, note="refused")
    await walk.sign_in(root)
    await walk.ask("GET admin/audit-events?action=token.rotate&limit=5", root)
