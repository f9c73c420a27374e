"""One's own sessions, name and password."""

from tests.golden.walk import NOBODYS, PASSWORD, Walk


async def sessions(walk: Walk) -> None:
    ada, ben = walk.people["ada"], await walk.join("ben")
    await walk.sign_in(ada)
    await walk.ask("GET sessions", ada)
    first = await walk.made("GET sessions?limit=2", ada)
    await walk.ask(f"GET sessions?limit=2&cursor={first['next_cursor']}", ada)
    await walk.ask("GET sessions?limit=2&offset=3", ada)
    for query in (
        f"cursor={first['next_cursor']}&offset=1", "cursor=MQ", "cursor=!", "cursor=", "limit=0",
        "limit=101", "limit=x", "offset=-1", "offset=100001", "limit=1&limit=2", "x=1", "limit=%00",
    ):  # fmt: skip
        await walk.ask(f"GET sessions?{query}", ada)
    await walk.ask(f"GET sessions/{ada.session_id}", ada)
    await walk.ask(f"HEAD sessions/{ada.session_id}", ada)
    for one in (ben.session_id, NOBODYS, "x", ada.session_id.upper()):
        await walk.ask(f"GET sessions/{one}", ada)
        await walk.ask(f"DELETE sessions/{one}", ben if one == ada.session_id.upper() else ada)
    other = first["items"][1]["id"]
    await walk.ask(f"DELETE sessions/{other}", ada)
    await walk.ask(f"DELETE sessions/{other}", ada, note="again")
    await walk.ask(f"GET sessions/{other}", ada)
    await walk.ask("DELETE sessions", ada)
    await walk.ask("GET sessions?limit=3", ada)
    await walk.ask("DELETE sessions/current", ada)
    await walk.ask("GET users/me", ada, note="signed out")
    await walk.ask("POST tokens", None, {"refresh_token": ada.refresh_token}, note="signed out")
    await walk.sign_in(ada)
    await expiring(walk)
    await profile(walk)


async def expiring(walk: Walk) -> None:
    ada = walk.people["ada"]
    walk.clock.advance(minutes=14, seconds=58)
    await walk.ask("GET users/me", ada, note="the last second of the token")
    await walk.sign_in(ada)
    walk.clock.advance(minutes=15)
    await walk.ask("GET users/me", ada, note="expired")
    for header in ("Basic YTpi", "Bearer", "Bearer x", "Bearer \u00e9", "Bearer " + "x" * 4_200):
        await walk.ask("GET users/me", headers={"Authorization": header})
    await walk.sign_in(ada)


async def profile(walk: Walk) -> None:
    ada = walk.people["ada"]
    await walk.ask("GET users/me", ada)
    await walk.ask("HEAD users/me", ada)
    for name in ("Ada L.", "  Ada\u0301 ", None, "", 7, "x" * 101, "a\u202eb"):
        await walk.ask("PATCH users/me", ada, {"full_name": name})
    await walk.ask("PATCH users/me", ada, {"full_name": "Ada", "email": "a@b.test"})
    await walk.ask("PATCH users/me", ada, {})
    new = "another quite long phrase"
    sound = {"current_password": PASSWORD, "new_password": new}
    for change in (
        {"current_password": "wrong horse battery"},
        {"new_password": "short"},
        {"new_password": "password1234"},
        {"new_password": ada.email},
        {"current_password": None, "new_password": "x" * 2_000},
    ):
        await walk.ask("PUT users/me/password", ada, sound | change)
    await walk.ask("PUT users/me/password", ada, sound)
    ada.password = new
    await walk.sign_in(ada)
    back = {"current_password": new, "new_password": PASSWORD}
    await walk.ask("PUT users/me/password", ada, back, headers={"User-Agent": "Phone/2 \u00e9"})
    ada.password = PASSWORD
    for _ in range(5):
        await walk.ask("PUT users/me/password", ada, sound | {"current_password": "wrong"})
    await walk.ask("PUT users/me/password", ada, sound, note="locked")
    await walk.ask("POST sessions/current/step-ups", ada, {"password": PASSWORD}, note="locked")
    walk.clock.advance(minutes=15)
    await walk.sign_in(ada)
