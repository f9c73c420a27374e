"""The composition root: what the bank is made of, and how its parts start and stop."""

import asyncio
import importlib
import logging
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from guilder.api.auth import Principal, TokenCache
from guilder.api.limits import RateLimits
from guilder.api.policies import RouteClass
from guilder.core.actor import FactorDemand
from guilder.core.clock import DAY_US, SECOND_US, Clock, SystemClock
from guilder.core.errors import Unavailable, cause_of
from guilder.core.events import Subscriber
from guilder.core.ids import NumberCipher
from guilder.core.parts import Parts
from guilder.core.permissions import WITHOUT_FACTOR
from guilder.core.ports import Mailer, RateLimiter, Tracer
from guilder.db.deliveries import Deliveries
from guilder.db.engine import Database, sqlite_path
from guilder.db.health import prove_writing
from guilder.db.migrate import allow, upgrade
from guilder.db.rate_limits import SqlRateLimiter
from guilder.db.run import Runner
from guilder.db.tracing import trace_statements
from guilder.domains.accounts.commands import close_accounts
from guilder.domains.accounts.services import AccountDirectory, Counterparties
from guilder.domains.audit.services import bring_trail_up, trail_is_behind
from guilder.domains.identity.queries import must_prove_factor, session_user, unknown_keys
from guilder.domains.identity.rules.sessions import SessionLife
from guilder.domains.identity.services.authentication import AuthenticationService
from guilder.domains.identity.services.closing import ClosingService
from guilder.domains.identity.services.factors import SecondFactorService
from guilder.domains.identity.services.letters import LetterSender
from guilder.domains.identity.services.passkeys import PasskeyService
from guilder.domains.ledger.ports import Store
from guilder.domains.ledger.poster import Poster
from guilder.domains.ledger.queries import number_cipher
from guilder.domains.ledger.services import PastReader
from guilder.domains.ledger.store.postgres import PostgresStore
from guilder.domains.ledger.store.sqlite import SqliteStore
from guilder.domains.transfers.services import TransferService
from guilder.infra.mail.addresses import ConsoleRoute, FolderRoute, SmtpRoute
from guilder.infra.mail.letters import Letters
from guilder.infra.mail.local import ConsoleMailer, FileMailer
from guilder.infra.mail.smtp import SmtpMailer
from guilder.infra.process.database_wait import wait_for_database
from guilder.infra.process.dispatcher import Dispatcher, event_routes
from guilder.infra.process.given import PREFIX
from guilder.infra.process.health import HealthMonitor
from guilder.infra.process.known_databases import KnownDatabases
from guilder.infra.process.logging import show
from guilder.infra.process.origins import passkey_party
from guilder.infra.process.production import key_problems
from guilder.infra.process.settings import InvalidSettings, Settings
from guilder.infra.process.stores import secret_store
from guilder.infra.process.telemetry import Telemetry
from guilder.infra.security.crypto import FORMAT, AesGcmSealer, SealingKey
from guilder.infra.security.cursors import CursorSealer
from guilder.infra.security.geoip import GeoIpDatabase, no_place
from guilder.infra.security.keys import ENCRYPTION_KEY, SECRET_KEY, InvalidKeys, KeyRing, Keys
from guilder.infra.security.macs import SecretMac
from guilder.infra.security.passkeys import WebAuthnRelyingParty
from guilder.infra.security.passwords import (
    PEPPERED,
    Argon2Passwords,
    Pepper,
    common_passwords,
)
from guilder.infra.security.qr import qr_svg
from guilder.infra.security.ratelimit import FallbackRateLimiter, LocalRateLimiter
from guilder.infra.security.signing import RingAuditSigner
from guilder.infra.security.tokens import KEEP_SECONDS, AccessTokens, LetterTokens, RefreshTokens
from guilder.slices import SLICES

if TYPE_CHECKING:
    from guilder.infra.security.redis_limits import RedisRateLimiter

CLOSE_SECONDS: Final = 3.0
"""How long the parts have to finish what they have taken in, when the bank closes."""

PRODUCT: Final = "Guilder"
"""A password that holds it is no better than the bank's own name."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Bank:
    """The parts of a running bank."""

    settings: Settings
    clock: Clock
    database: Database
    runner: Runner
    poster: Poster
    keys: Keys
    passwords: Argon2Passwords
    authentication: AuthenticationService
    closing: ClosingService
    tokens: TokenCache
    directory: AccountDirectory
    counterparties: Counterparties
    transfers: TransferService
    cipher: NumberCipher
    cursors: CursorSealer
    macs: SecretMac
    telemetry: Telemetry
    redis: "RedisRateLimiter | None"
    limits: RateLimits | None
    letters: LetterSender
    subscribers: tuple[Subscriber, ...]
    dispatcher: Dispatcher
    health: HealthMonitor

    @property
    def parts(self) -> Parts:
        """What routes may ask for, by its class."""
        return Parts(
            self.settings,
            self.database,
            self.runner,
            self.poster,
            self.authentication,
            self.closing,
            self.authentication.factors,
            self.authentication.passkeys,
            self.tokens,
            self.transfers,
            PastReader(self.runner, self.poster),
            self.counterparties,
            self.cipher,
            self.cursors,
            self.macs,
            self.telemetry,
            self.dispatcher,
            self.health,
            self.letters,
            *([] if self.limits is None else [self.limits]),
        )


ALL_LETTERS: Final = tuple(letter for one in SLICES for letter in one.letters)
SUBSCRIBERS: Final = tuple(subscriber for one in SLICES for subscriber in one.subscribers)
"""Who reacts to what has happened. The worker delivers; see ``jobs_of``."""


class SessionAuthenticator:
    """Verifies an access token: its signature and claims, then its session and user."""

    def __init__(self, runner: Runner, tokens: AccessTokens, *, demands_factors: bool) -> None:
        self._runner = runner
        self._tokens = tokens
        self._demands_factors = demands_factors

    async def authenticate(self, token: str) -> Principal:
        """The principal of the token. Raises ``Unauthenticated``."""
        if self._tokens.names_unknown_key(token):
            await self._tokens.look_again()
        claims = self._tokens.read(token)
        user, proved_at, factor_at = await self._runner.view(
            session_user, claims.session_id, claims.user_id, claims.version
        )
        role, demand = user.role, None
        if self._demands_factors and factor_at is None and role in WITHOUT_FACTOR:
            role = WITHOUT_FACTOR[role]
            must_prove = await self._runner.view(must_prove_factor, user.id)
            demand = FactorDemand.PROVE if must_prove else FactorDemand.SET_UP
        expires_at = claims.expires_at * SECOND_US
        return Principal(user.id, role, claims.session_id, expires_at, proved_at, demand)


async def build_bank(
    settings: Settings,
    telemetry: Telemetry | None = None,
    subscribers: tuple[Subscriber, ...] = SUBSCRIBERS,
    tracer: Tracer | None = None,
) -> Bank:
    """Make the parts and connect them, on a migrated database. Nothing runs yet."""
    telemetry = telemetry or Telemetry()
    clock = SystemClock()
    routes = event_routes(subscribers)
    keys = await asyncio.to_thread(open_keys, settings, clock)
    database = _traced_database(settings, tracer)
    runner = Runner(database, clock, routes, audit_signer(settings, keys), tracer)
    try:
        await _expect_keys(runner, keys.encryption, settings.lost_keys)
        cipher = await runner.view(number_cipher)
    except BaseException:
        await database.close()
        raise
    passwords = Argon2Passwords(
        keys.encryption, first_key=keys.signing.versions[-1].value, lost=settings.lost_keys
    )
    access_tokens = AccessTokens(keys.signing, clock)
    poster = Poster(ledger_store(database, clock), telemetry, tracer)
    directory = AccountDirectory(runner)
    dispatcher = Dispatcher(Deliveries(database, clock), [s.name for s in subscribers])
    redis = _redis(settings.redis) if settings.redis and settings.rate_limits else None
    return Bank(
        settings=settings,
        clock=clock,
        database=database,
        runner=runner,
        poster=poster,
        keys=keys,
        passwords=passwords,
        authentication=_authentication(settings, runner, keys, passwords, access_tokens, telemetry),
        closing=ClosingService(runner, close_accounts),
        tokens=TokenCache(
            SessionAuthenticator(
                runner, access_tokens, demands_factors=settings.require_admin_factors
            ),
            clock,
        ),
        directory=directory,
        counterparties=Counterparties(runner),
        transfers=TransferService(directory, poster, clock),
        cipher=cipher,
        cursors=CursorSealer(keys.signing),
        macs=SecretMac(keys.encryption),
        telemetry=telemetry,
        redis=redis,
        limits=_limits(settings, database, telemetry, redis) if settings.rate_limits else None,
        letters=_letters(settings, runner, keys),
        subscribers=subscribers,
        dispatcher=dispatcher,
        health=HealthMonitor(
            database, clock, poster, dispatcher.backlog, _folders_of(settings, database)
        ),
    )


def _traced_database(settings: Settings, tracer: Tracer | None) -> Database:
    database = Database(settings.database)
    if tracer is not None:
        trace_statements(database, tracer)
    return database


def _folders_of(settings: Settings, database: Database) -> tuple[Path, ...]:
    """Where on this machine data is written."""
    own = (sqlite_path(database.url).parent,) if database.sqlite else ()
    return (settings.data_dir, *own)


def _authentication(
    settings: Settings,
    runner: Runner,
    keys: Keys,
    passwords: Argon2Passwords,
    access_tokens: AccessTokens,
    telemetry: Telemetry,
) -> AuthenticationService:
    bank_name, clock = settings.sender.display_name, runner.clock
    host, origins = passkey_party(settings.address, settings.passkey_host, settings.passkey_origins)
    party = WebAuthnRelyingParty(host, origins, bank_name, keys.signing, clock)
    sealer = AesGcmSealer(keys.encryption)
    codes = SecretMac(keys.encryption, "identity/recovery-codes")
    return AuthenticationService(
        runner,
        passwords,
        access_tokens,
        RefreshTokens(keys.signing),
        SecondFactorService(runner, sealer, codes, bank_name, qr_svg),
        PasskeyService(runner, party),
        SecretMac(keys.encryption, "identity/sign-ups"),
        common_passwords=common_passwords(),
        bank_names=(PRODUCT, bank_name, *bank_name.split()),
        requires_verification=settings.requires_verification,
        life=SessionLife(
            settings.session_idle_days * DAY_US, settings.session_absolute_days * DAY_US
        ),
        place_of=GeoIpDatabase(settings.geoip_database).place_of
        if settings.geoip_database
        else no_place,
        on_sign_in=telemetry.sign_in,
    )


def _letters(settings: Settings, runner: Runner, keys: Keys) -> LetterSender:
    address = settings.address
    return LetterSender(
        runner,
        LetterTokens(keys.signing),
        Letters(settings.sender.display_name, address, ALL_LETTERS),
        mailer(settings, runner.clock),
        address,
    )


def open_keys(settings: Settings, clock: Clock) -> Keys:
    """The key rings, read from where the settings say; it may block.

    Raises ``InvalidSettings`` for keys that cannot be used, and in production for unsafe ones.
    """
    stores = {name: secret_store(settings, name, clock) for name in (SECRET_KEY, ENCRYPTION_KEY)}
    try:
        keys = Keys(
            KeyRing(SECRET_KEY, stores[SECRET_KEY], clock, KEEP_SECONDS),
            KeyRing(ENCRYPTION_KEY, stores[ENCRYPTION_KEY], clock),
        )
    except InvalidKeys as error:
        raise InvalidSettings(f"{error}; `guilder keys rotate` makes one where it can") from None
    if settings.env == "production":
        given = {
            PREFIX + ring.name.upper(): [one.value for one in ring.versions]
            for ring in (keys.signing, keys.encryption)
        }
        if problems := key_problems(given, settings.data_dir):
            raise InvalidSettings("\n".join(problems))
    return keys


def audit_signer(settings: Settings, keys: Keys) -> RingAuditSigner:
    """What signs the audit trail: the encryption key, which is kept as long as what it protects."""
    return RingAuditSigner(keys.encryption, settings.lost_keys)


async def check_stored_keys(settings: Settings, keys: Keys) -> None:
    """Raises ``InvalidSettings`` when what is stored names an encryption key that is not there."""
    database = Database(settings.database)
    try:
        await _expect_keys(Runner(database, SystemClock()), keys.encryption, settings.lost_keys)
    finally:
        await database.close()


async def check_writing(settings: Settings) -> None:
    """Raises ``OSError`` when the database can be read and not written."""
    database = Database(settings.database)
    try:
        await prove_writing(database, SystemClock())
    except Unavailable as error:
        raise OSError(f"it cannot be written ({cause_of(error)})") from None
    finally:
        await database.close()


async def _expect_keys(runner: Runner, ring: KeyRing, lost: Sequence[str]) -> None:
    marks = [Pepper(one.value).mark for one in ring.versions]
    heads = [FORMAT + SealingKey(one.value).id for one in ring.versions]
    marks_, heads_ = await runner.view(unknown_keys, PEPPERED, marks, heads)
    found = [("codes", head.removeprefix(FORMAT).hex()) for head in heads_]
    found += [("passwords", mark.removeprefix(PEPPERED)) for mark in marks_]
    if missing := sorted(pair for pair in found if pair[1] not in lost):
        named = ", ".join(f"{use}: {name}" for use, name in missing)
        raise InvalidSettings(
            f"{PREFIX}ENCRYPTION_KEY: passwords or codes are stored under a key that is not there "
            f"({named}): add it again, behind the one that is used; `guilder keys list` shows these"
            f" names of the keys that it is given. Or say that it is lost for good with "
            f"{PREFIX}LOST_KEYS={','.join(name for _, name in missing)}"
        )


def _redis(url: str) -> "RedisRateLimiter":
    """Limits in Redis. Its library is imported where there is one: it takes a tenth of a start."""
    module = importlib.import_module("guilder.infra.security.redis_limits")
    limiter: RedisRateLimiter = module.RedisRateLimiter(url)
    return limiter


def _limits(
    settings: Settings, database: Database, telemetry: Telemetry, redis: "RedisRateLimiter | None"
) -> RateLimits:
    """Where the buckets are: in Redis, or else in this process, apart from strict ones of several.

    What can be guessed is worth a statement to the database, also while Redis is away; other
    requests are not.
    """
    clock = SystemClock()
    stores: dict[RouteClass, RateLimiter] = {}
    if redis is not None:
        stores = dict.fromkeys(RouteClass, redis)
    if settings.workers > 1:
        shared = SqlRateLimiter(database, clock)
        strict = shared if redis is None else FallbackRateLimiter(redis, shared)
        stores[RouteClass.STRICT] = strict
    local, rates = LocalRateLimiter(clock), settings.policy_rates()
    return RateLimits(stores, local, clock, telemetry.limited, rates)


def mailer(settings: Settings, clock: Clock) -> Mailer:
    """The way mail goes out; nothing is connected before there is some."""
    match settings.mail_route:
        case ConsoleRoute():
            return ConsoleMailer(show, open_letters=settings.sandbox)
        case FolderRoute(folder):
            return FileMailer(folder, settings.sender, clock)
        case SmtpRoute() as server:
            return SmtpMailer(server, settings.sender, clock)


def ledger_store(database: Database, clock: Clock) -> Store:
    """The ledger's store on a database; it connects when it is first used."""
    if database.files is not None:
        return SqliteStore(database.url, clock, database.files)
    return PostgresStore(database.url, clock)


async def migrate_bank(settings: Settings, *, new: bool = False) -> bool:
    """Bring the bank's database to the newest schema; tells whether anything had to be done.

    One that is away is waited for, as the settings say.

    Raises ``ForeignFolder`` when a file would be somebody else's than its folder, ``BankMissing``
    where there is none though there was one before, unless a ``new`` one is wanted, and
    ``NewerDatabase`` when it is newer than the code.
    """
    known = KnownDatabases(settings.data_dir, settings.database)
    changed = await wait_for_database(
        partial(upgrade, settings.database, before_first=allow if new else known.refuse_if_known),
        settings.database_wait_seconds,
    )
    known.remember()
    await _complete_trail(settings)
    return changed


async def _complete_trail(settings: Settings) -> None:
    """Where the trail is older than its keys, or than digests of rows, let it have them from now.

    A start that was killed meanwhile leaves it to the next.
    """
    database = Database(settings.database)
    try:
        clock = SystemClock()
        if not await trail_is_behind(Runner(database, clock)):
            return
        keys = await asyncio.to_thread(open_keys, settings, clock)
        await check_stored_keys(settings, keys)
        runner = Runner(database, clock, signer=audit_signer(settings, keys))
        await bring_trail_up(runner)
    finally:
        await database.close()


@asynccontextmanager
async def open_bank(
    settings: Settings,
    telemetry: Telemetry | None = None,
    subscribers: tuple[Subscriber, ...] = SUBSCRIBERS,
    tracer: Tracer | None = None,
) -> AsyncIterator[Bank]:
    """A running bank: migrated, its poster started; closed in order at the end.

    With a ``tracer`` requests show their steps. Raises ``BankMissing`` and ``NewerDatabase`` as
    ``migrate_bank`` does.
    """
    await migrate_bank(settings)
    bank = await build_bank(settings, telemetry, subscribers, tracer)
    bank.poster.start()
    watching = asyncio.create_task(bank.keys.watch(), name="keys")
    try:
        yield bank
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await close(bank)


async def close(bank: Bank) -> None:
    """Finish accepted work, then close the pools; a part that fails does not stop the others."""
    await _bounded("health", bank.health.close())
    await asyncio.gather(
        _bounded("dispatcher", bank.dispatcher.stop()), _bounded("commands", bank.runner.drain())
    )
    await _bounded("poster", bank.poster.stop())
    bank.passwords.close()
    if bank.redis is not None:
        await _bounded("redis", bank.redis.close())
    await _bounded("database", bank.database.close())


async def _bounded(part: str, work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.create_task(work)
    await asyncio.wait((task,), timeout=CLOSE_SECONDS / 3)
    if not task.done():
        task.cancel()
        _log.error("not closed in time", extra={"fields": {"part": part}})
    elif task.cancelled() or (error := task.exception()) is None:
        return
    else:
        _log.error("not closed in good order", exc_info=error, extra={"fields": {"part": part}})
