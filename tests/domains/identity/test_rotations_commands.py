"""Rotation after a breach on real databases: who is out, when, and who is in again at once."""

import asyncio
from dataclasses import replace
from uuid import UUID

import pytest

from guilder.core.actor import SYSTEM, Actor
from guilder.core.clock import FixedClock
from guilder.core.errors import Unauthenticated
from guilder.core.page import PageRequest
from guilder.core.permissions import Role
from guilder.db.engine import Database
from guilder.db.run import Runner
from guilder.domains.identity.commands.rotations import (
    RotateAll,
    RotateUser,
    rotate_all,
    rotate_user,
)
from guilder.domains.identity.errors import RefreshInvalid, UserNotFound
from guilder.domains.identity.queries import list_sessions, session_user
from guilder.domains.identity.repository import rotations
from guilder.domains.identity.rules.rotations import Rotation
from guilder.domains.identity.services.authentication import SignedIn
from guilder.infra.security.tokens import AccessTokens, Claims
from tests.db import owner
from tests.domains.identity.doors import SECRET, gate_of
from tests.support.constants import CALLER, PASSWORD

OPENING = "guilder.domains.identity.commands.sessions"


class House:
    """Ada and Eve, signed in, and what a thief of their tokens can do."""

    def __init__(self, runner: Runner, clock: FixedClock) -> None:
        self.runner = runner
        self.clock = clock
        self.access = AccessTokens(SECRET, clock)
        self.auth = gate_of(runner, clock)

    async def sign_up(self, name: str) -> SignedIn:
        return await self.auth.sign_up(f"{name}@b.test", PASSWORD, None, CALLER, None)

    async def log_in(self, name: str) -> SignedIn:
        return await self.auth.log_in(f"{name}@b.test", PASSWORD, CALLER, None)

    async def comes_in(self, who: SignedIn) -> bool:
        """Whether the access token is good."""
        return await self.proves(self.access.read(who.access_token))

    async def proves(self, claims: Claims) -> bool:
        """Whether a token that says so is good."""
        try:
            await self.runner.view(
                lambda view: session_user(view, claims.session_id, claims.user_id, claims.version)
            )
        except Unauthenticated:
            return False
        return True

    async def refreshed(self, who: SignedIn) -> SignedIn | None:
        """The next pair, None when it is refused as invalid."""
        try:
            return await self.auth.refresh(who.refresh_token, CALLER)
        except RefreshInvalid:
            return None

    async def rotate(self, who: SignedIn | None = None, grace_seconds: int = 0) -> Rotation:
        if who is None:
            everybody = RotateAll("a breach", grace_seconds)
            return await self.runner.run(rotate_all, everybody, SYSTEM)
        one = RotateUser(who.user.id, "a breach", grace_seconds)
        return await self.runner.run(rotate_user, one, SYSTEM)


@pytest.fixture
def house(runner: Runner, clock: FixedClock) -> House:
    return House(runner, clock)


@pytest.fixture
async def ada(house: House) -> SignedIn:
    return await house.sign_up("ada")


@pytest.fixture
async def eve(house: House) -> SignedIn:
    return await house.sign_up("eve")


async def test_everybody_is_out_and_comes_in_again(
    house: House, ada: SignedIn, eve: SignedIn
) -> None:
    assert (await house.rotate()).version == 2
    for who in (ada, eve):
        assert not await house.comes_in(who)
        assert await house.refreshed(who) is None
    again = await house.log_in("ada")
    assert house.access.read(again.access_token).version == 2
    following = await house.refreshed(again)
    assert following is not None
    assert await house.comes_in(following)


async def test_who_is_rotated_alone_is_out_and_comes_in_and_refreshes_at_once(
    house: House, ada: SignedIn, eve: SignedIn
) -> None:
    await house.rotate(ada)
    assert not await house.comes_in(ada)
    assert await house.refreshed(ada) is None
    again = await house.log_in("ada")
    assert await house.comes_in(again)
    for _ in range(3):
        following = await house.refreshed(again)
        assert following is not None
        assert await house.comes_in(following)
        assert house.access.read(following.access_token).version == 2
        again = following
    assert await house.comes_in(eve)
    assert await house.refreshed(eve) is not None


async def test_the_versions_of_the_bank_and_of_a_user_are_one_series(
    house: House, ada: SignedIn, eve: SignedIn
) -> None:
    versions = [(await house.rotate(who)).version for who in (ada, ada, None, eve, None, ada)]
    assert versions == [2, 3, 4, 5, 6, 7]
    tokens = [await house.log_in(name) for name in ("ada", "eve")]
    assert [house.access.read(one.access_token).version for one in tokens] == [7, 6]
    assert [await house.comes_in(one) for one in tokens] == [True, True]
    await house.rotate(eve)  # 8, higher than Ada's, and none of her business
    assert [await house.comes_in(one) for one in tokens] == [True, False]
    await house.rotate()
    assert [await house.comes_in(one) for one in tokens] == [False, False]


@pytest.mark.parametrize("alone", [True, False])
async def test_within_the_grace_all_goes_on_and_after_it_nothing(
    house: House, ada: SignedIn, alone: bool
) -> None:
    rotation = await house.rotate(ada if alone else None, grace_seconds=600)
    assert rotation.effective_at - rotation.created_at == 600_000_000
    house.clock.advance(seconds=599)
    assert await house.comes_in(ada)
    thief = await house.refreshed(ada)  # whoever it is: a token proves no owner
    assert thief is not None
    assert await house.comes_in(thief)
    ready = await house.log_in("ada")  # the owner signs in anew before the end
    house.clock.advance(seconds=1)
    for old in (ada, thief):
        assert not await house.comes_in(old)
        assert await house.refreshed(old) is None
    assert await house.comes_in(ready)
    assert await house.refreshed(ready) is not None


async def test_a_later_rotation_without_grace_overrides_that_of_an_earlier_one(
    house: House, ada: SignedIn
) -> None:
    await house.rotate(grace_seconds=86_400)
    await house.rotate(ada)
    assert not await house.comes_in(ada)
    again = await house.log_in("ada")
    house.clock.advance(days=1)
    assert await house.refreshed(again) is not None


def refuses(rotation: Rotation, version: int, user_id: UUID, now_us: int) -> bool:
    """Whether a rotation ends the sessions of that version of that user."""
    concerned = rotation.user_id in (None, user_id)
    return concerned and version < rotation.version and rotation.effective_at <= now_us


async def test_the_database_refuses_what_the_rule_refuses(
    house: House, ada: SignedIn, eve: SignedIn
) -> None:
    """Every version against every instant, after rotations of all kinds."""
    plan = [(None, 50), (ada, 0), (eve, 20), (ada, 90), (None, 70), (eve, 0), (ada, 40)]
    made = [await house.rotate(who, grace) for who, grace in plan]
    for _ in range(5):
        for who in (ada, eve):
            for version in range(1, len(plan) + 3):
                user, session = who.user.id, who.session.id
                now_us = house.clock.now_us()
                refused = any(refuses(one, version, user, now_us) for one in made)
                claims = replace(house.access.read(who.access_token), version=version)
                assert await house.proves(claims) is not refused, (session, version, now_us)
        house.clock.advance(seconds=20)


async def test_a_session_that_a_rotation_refuses_is_shown_as_ended_then(
    house: House, ada: SignedIn
) -> None:
    actor = Actor(ada.user.id, Role.USER, session_id=ada.session.id)
    first = await house.rotate(grace_seconds=60)
    await house.rotate(ada, grace_seconds=3600)

    async def ended_at() -> int | None:
        page = await house.runner.view(lambda view: list_sessions(view, actor, PageRequest()))
        (session,) = page.items
        return session.ended_at

    assert await ended_at() is None
    house.clock.advance(hours=2)
    assert await ended_at() == first.effective_at


async def test_a_user_who_is_none_cannot_be_rotated(house: House, ada: SignedIn) -> None:
    with pytest.raises(UserNotFound):
        await house.runner.run(rotate_user, RotateUser(ada.session.id, "x"), SYSTEM)


async def test_who_why_and_whom_are_on_record(
    house: House, ada: SignedIn, database_url: str
) -> None:
    await house.rotate()
    await house.rotate(ada)
    stored = await owner.rows(
        database_url, "SELECT version, reason, made_by FROM identity_rotations ORDER BY version"
    )
    assert stored == [(2, "a breach", "system"), (3, "a breach", "system")]
    audited = await owner.rows(
        database_url,
        "SELECT action, phase, subject FROM audit_events WHERE action LIKE '%rotate' ORDER BY id",
    )
    assert audited == [
        ("security.rotate", "attempted", None),
        ("security.rotate", "succeeded", None),
        ("user.rotate", "attempted", None),
        ("user.rotate", "succeeded", str(ada.user.id)),
    ]


async def test_of_rotations_at_once_each_has_a_version_of_its_own(
    house: House, ada: SignedIn, eve: SignedIn
) -> None:
    """From two processes, as two admins would."""
    database = Database(house.runner.database.url)
    other = House(Runner(database, house.clock), house.clock)
    made = await asyncio.gather(house.rotate(ada), other.rotate(), house.rotate(eve))
    await database.close()
    assert sorted(one.version for one in made) == [2, 3, 4]
    assert [await house.comes_in(who) for who in (ada, eve)] == [False, False]


@pytest.mark.parametrize("alone", [True, False])
async def test_a_sign_in_that_has_read_the_version_before_a_rotation_is_refused_by_it(
    house: House, ada: SignedIn, alone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worst moment: between the reading of the version and the commit."""
    database = Database(house.runner.database.url)
    other = House(Runner(database, house.clock), house.clock)
    rotating: list[asyncio.Task[Rotation]] = []

    async def version_of(*arguments: object) -> int:
        version: int = await rotations.version_of(*arguments)  # type: ignore[arg-type]
        rotating.append(asyncio.create_task(other.rotate(ada if alone else None)))
        # PostgreSQL lets the rotation commit first; SQLite lets it wait for the sign-in.
        await asyncio.wait(rotating, timeout=0.5)
        return version

    monkeypatch.setattr(f"{OPENING}.version_of", version_of)
    late = await house.log_in("ada")
    assert (await rotating[0]).version == 2
    await database.close()
    assert late.session.version == 1
    assert not await house.comes_in(late)
    assert await house.refreshed(late) is None


async def test_no_sign_in_or_refresh_among_many_survives_with_an_old_version(
    house: House, ada: SignedIn
) -> None:
    everybody = [ada, *[await house.log_in("ada") for _ in range(5)]]
    database = Database(house.runner.database.url)
    other = House(Runner(database, house.clock), house.clock)
    refreshing = [asyncio.create_task(house.refreshed(who)) for who in everybody]
    entering = [asyncio.create_task(house.log_in("ada")) for _ in range(5)]
    await other.rotate(ada)
    found = [*await asyncio.gather(*refreshing), *await asyncio.gather(*entering)]
    await database.close()
    for who in filter(None, found):
        is_new = house.access.read(who.access_token).version == 2
        assert await house.comes_in(who) is is_new
        assert (await house.refreshed(who) is not None) is is_new
