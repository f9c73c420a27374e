"""A thief who has come into a login: what ends that for good, and what keeps no owner out."""

from dataclasses import dataclass, replace
from uuid import UUID

import pytest
from sqlalchemy import select

from guilder.bootstrap import SessionAuthenticator
from guilder.core.actor import ANONYMOUS, SYSTEM, FactorDemand
from guilder.core.clock import FixedClock
from guilder.core.errors import SecondFactorDemanded
from guilder.core.permissions import Role
from guilder.db.run import Runner
from guilder.domains.identity.commands.emails import (
    ConfirmEmailChange,
    RequestEmailChange,
    UndoEmailChange,
    change_to_confirm,
    confirm_email_change,
    request_email_change,
    undo_email_change,
)
from guilder.domains.identity.commands.factors import (
    RemoveFactors,
    RemoveTotp,
    remove_factors,
    remove_totp,
)
from guilder.domains.identity.commands.letters import (
    ClaimedLetter,
    GiveUpFactors,
    MarkLetterSent,
    RequestLetter,
    ResetPassword,
    SendLetter,
    give_up_factors,
    mark_letter_sent,
    request_letter,
    reset_password,
    send_letter,
)
from guilder.domains.identity.commands.rotations import RotateUser, rotate_user
from guilder.domains.identity.commands.sessions import EndSession, end_session
from guilder.domains.identity.commands.users import ChangeAccess, change_access
from guilder.domains.identity.errors import TokenInvalid
from guilder.domains.identity.models import letters, sessions, users
from guilder.domains.identity.queries import factors_of
from guilder.domains.identity.repository.users import has_given_up_factors
from guilder.domains.identity.rules.factors import TOTP_NOTICE_US, Factors
from guilder.domains.identity.rules.letters import Purpose
from guilder.domains.identity.services.authentication import AuthenticationService, SignedIn
from guilder.infra.security.tokens import AccessTokens
from tests.domains.identity.codes import code_at
from tests.domains.identity.doors import ADDRESS, SECRET, actor_of, cheap_passwords, enrol, log_in
from tests.support.authenticator import Authenticator
from tests.support.builders import a_user
from tests.support.constants import CALLER, EMAIL, PASSWORD


@dataclass
class Story:
    """What thief and owner do with one login, whose address is proved."""

    runner: Runner
    auth: AuthenticationService
    clock: FixedClock
    user_id: UUID
    password_hash: str

    async def letter(self, purpose: Purpose) -> bytes:
        """The hash of the token in the letter of the kind that waits, which is sent."""
        waits = select(letters.c.id).where(
            letters.c.purpose == purpose.value,
            letters.c.hash.is_(None),
            letters.c.used_at.is_(None),
        )
        letter_id = await self.runner.view(lambda view: view.scalar(waits))
        hash_ = bytes(letter_id.bytes * 2)
        sent = await self.runner.run(send_letter, SendLetter(letter_id, hash_), SYSTEM)
        assert isinstance(sent, ClaimedLetter)
        await self.runner.run(mark_letter_sent, MarkLetterSent(letter_id), SYSTEM)
        return hash_

    async def asks(self, who: SignedIn, address: str) -> bytes:
        await self.runner.run(request_email_change, RequestEmailChange(address), actor_of(who))
        return await self.letter(Purpose.NEW_EMAIL)

    async def confirms(self, token: bytes) -> None:
        await self.runner.run(confirm_email_change, ConfirmEmailChange(token), ANONYMOUS)

    async def moves(self, who: SignedIn, address: str) -> bytes:
        """Change the address; gives the token that undoes it."""
        await self.confirms(await self.asks(who, address))
        return await self.letter(Purpose.UNDO_EMAIL)

    async def undoes(self, token: bytes) -> None:
        command = UndoEmailChange(token, self.password_hash, None)
        await self.runner.run(undo_email_change, command, ANONYMOUS)

    async def sets_password(self) -> None:
        """Set a password by letter, which is the same."""
        await self.runner.run(request_letter, RequestLetter(Purpose.RESET, EMAIL), SYSTEM)
        token = await self.letter(Purpose.RESET)
        command = ResetPassword(token, self.password_hash, None)
        await self.runner.run(reset_password, command, ANONYMOUS)

    async def resets(self) -> bytes:
        """The same; gives the token that removes the factors."""
        await self.sets_password()
        return await self.letter(Purpose.FACTORS)

    async def gives_up_factors(self, token: bytes) -> None:
        await self.runner.run(give_up_factors, GiveUpFactors(token), ANONYMOUS)

    async def adds_passkey(self, who: SignedIn) -> Authenticator:
        options = await self.auth.passkeys.creation_options(actor_of(who))
        phone = Authenticator(ADDRESS)
        await self.auth.passkeys.add("Phone", phone.create(options), actor_of(who))
        return phone

    async def by_passkey(self, phone: Authenticator) -> SignedIn:
        options = self.auth.passkeys.request_options()
        return await self.auth.log_in_with_passkey(phone.get(options), ANONYMOUS, None)

    async def factors(self) -> Factors:
        return await self.runner.view(factors_of, self.user_id)

    async def address(self) -> str:
        found = select(users.c.email).where(users.c.id == self.user_id)
        return str(await self.runner.view(lambda view: view.scalar(found)))


@pytest.fixture
async def story(runner: Runner, auth: AuthenticationService, clock: FixedClock) -> Story:
    encoded = await cheap_passwords().hash(PASSWORD)
    user = await a_user(runner, password_hash=encoded, email_verified=True)
    return Story(runner, auth, clock, user.id, encoded)


async def test_undoing_a_change_of_address_takes_the_thiefs_factors(story: Story) -> None:
    thief = await log_in(story.auth)
    await story.adds_passkey(thief)
    await enrol(story.auth, thief, story.clock)
    undo = await story.moves(thief, "thief@example.test")
    await story.undoes(undo)
    left = await story.factors()
    assert (left.passkeys, left.totp is None) == ((), False)  # the app may be the owner's
    story.clock.advance(microseconds=TOTP_NOTICE_US)
    assert (await story.factors()).totp is None
    assert await story.address() == EMAIL


async def test_a_link_that_removes_factors_outlives_a_change_of_address(story: Story) -> None:
    thief = await log_in(story.auth)
    phone = await story.adds_passkey(thief)
    removal = await story.resets()
    thief = await story.by_passkey(phone)
    await story.moves(thief, "thief@example.test")
    await story.gives_up_factors(removal)
    assert (await story.factors()).passkeys == ()


@pytest.mark.parametrize("way", ["ended", "rotated", "expired"])
async def test_a_change_is_made_only_while_the_session_that_asked_is_open(
    story: Story, way: str
) -> None:
    thief, owner = await log_in(story.auth), await log_in(story.auth)
    token = await story.asks(thief, "thief@example.test")
    if way == "ended":
        await story.runner.run(end_session, EndSession(thief.session.id), actor_of(owner))
    elif way == "rotated":
        await story.runner.run(rotate_user, RotateUser(owner.user.id, "stolen"), SYSTEM)
    else:
        over = sessions.update().values(expires_at=story.clock.now_us())
        async with story.runner.database.begin() as connection:
            await connection.execute(over)
    with pytest.raises(TokenInvalid):
        await story.confirms(token)
    with pytest.raises(TokenInvalid, match="has ended"):
        await story.runner.view(change_to_confirm, token)
    assert await story.address() == EMAIL


async def test_a_change_that_no_session_has_asked_for_is_not_made(story: Story) -> None:
    ada = replace(actor_of(await log_in(story.auth)), session_id=None)
    await story.runner.run(request_email_change, RequestEmailChange("a@example.test"), ada)
    with pytest.raises(TokenInvalid):
        await story.confirms(await story.letter(Purpose.NEW_EMAIL))


async def test_which_change_is_later_does_not_depend_on_clocks(story: Story) -> None:
    """Two hosts differ by some milliseconds, and an instant is taken before the wait for a lock."""
    thief = await log_in(story.auth)
    owners = await story.moves(thief, "thief1@example.test")
    story.clock.advance(milliseconds=-50)
    thiefs = await story.moves(thief, "thief2@example.test")
    await story.undoes(thiefs)
    await story.undoes(owners)
    assert await story.address() == EMAIL


async def test_undoing_a_change_ends_the_ways_back_from_later_ones(story: Story) -> None:
    thief = await log_in(story.auth)
    owners = await story.moves(thief, "thief1@example.test")
    story.clock.advance(milliseconds=-50)
    thiefs = await story.moves(thief, "thief2@example.test")
    other = await another_way_back(story)
    await story.undoes(owners)
    with pytest.raises(TokenInvalid):
        await story.undoes(thiefs)
    assert await story.address() == EMAIL
    await story.undoes(other)  # of another user


async def another_way_back(story: Story) -> bytes:
    """What undoes another user's second change of address."""
    encoded = await cheap_passwords().hash(PASSWORD)
    await a_user(story.runner, "bob@b.test", encoded, email_verified=True)
    bob = await story.auth.log_in("bob@b.test", PASSWORD, CALLER, None)
    await story.moves(bob, "bob2@b.test")
    return await story.moves(bob, "bob3@b.test")


async def demand_of(story: Story, who: SignedIn) -> FactorDemand | None:
    """What the session lacks where administrators must prove a second factor."""
    tokens = AccessTokens(SECRET, story.clock)
    asked = SessionAuthenticator(story.runner, tokens, demands_factors=True)
    return (await asked.authenticate(who.access_token)).demand


@pytest.fixture
async def root(story: Story) -> SignedIn:
    """An administrator."""
    signed_in = await log_in(story.auth)
    access = ChangeAccess(signed_in.user.id, Role.ADMIN, None)
    await story.runner.run(change_access, access, SYSTEM)
    return signed_in


@pytest.mark.parametrize("way", ["link", "undo", "first proof"])
async def test_a_mailbox_alone_makes_nobody_an_administrator(
    story: Story, root: SignedIn, way: str
) -> None:
    await story.adds_passkey(root)
    if way == "link":
        await story.gives_up_factors(await story.resets())
    elif way == "undo":
        await story.undoes(await story.moves(root, "root2@b.test"))
    else:
        async with story.runner.database.begin() as connection:
            await connection.execute(users.update().values(email_verified=False))
        await story.sets_password()
    thief = await log_in(story.auth)
    assert (await story.factors()).passkeys == ()
    assert await demand_of(story, thief) is FactorDemand.PROVE
    await story.runner.run(remove_factors, RemoveFactors(root.user.id), SYSTEM)
    assert await demand_of(story, await log_in(story.auth)) is FactorDemand.SET_UP


async def test_no_factor_whose_set_up_was_begun_before_takes_the_place_of_the_demanded_one(
    story: Story, root: SignedIn
) -> None:
    thief = actor_of(await log_in(story.auth))
    secret = (await story.auth.factors.enrol(thief)).secret
    options = await story.auth.passkeys.creation_options(thief)
    await story.adds_passkey(root)
    thief = replace(thief, demand=FactorDemand.PROVE)
    with pytest.raises(SecondFactorDemanded):
        await story.auth.factors.confirm(code_at(secret, story.clock), thief)
    with pytest.raises(SecondFactorDemanded):
        await story.auth.passkeys.add("Thief", Authenticator(ADDRESS).create(options), thief)
    found = await story.factors()
    assert ([one.name for one in found.passkeys], found.totp) == (["Phone"], None)


async def test_an_app_that_a_letter_has_ended_makes_no_room_for_a_thiefs(
    story: Story, root: SignedIn
) -> None:
    await enrol(story.auth, root, story.clock)
    await story.gives_up_factors(await story.resets())
    story.clock.advance(microseconds=TOTP_NOTICE_US)
    assert await demand_of(story, await log_in(story.auth)) is FactorDemand.PROVE


async def test_whoever_uses_the_app_that_was_to_end_may_replace_it(
    story: Story, root: SignedIn
) -> None:
    _secret, codes = await enrol(story.auth, root, story.clock)
    await story.gives_up_factors(await story.resets())
    again = await log_in(story.auth, codes[0])
    assert await demand_of(story, again) is None
    await story.runner.run(remove_totp, RemoveTotp(), actor_of(again))
    assert await demand_of(story, await log_in(story.auth)) is FactorDemand.SET_UP


@pytest.mark.parametrize("kind", ["app", "passkey"])
async def test_whoever_has_set_up_a_new_factor_may_replace_it(story: Story, kind: str) -> None:
    await story.adds_passkey(await log_in(story.auth))
    await story.gives_up_factors(await story.resets())
    ada = await log_in(story.auth)
    await (enrol(story.auth, ada, story.clock) if kind == "app" else story.adds_passkey(ada))
    assert not await story.runner.view(has_given_up_factors, ada.user.id)
