"""Section `engine`: the poster without HTTP, in one process.

Closed loops of callers submit units straight to the poster, as the routes do once a request is
parsed: with keys, fingerprints and a description, durable, all proofs on.
"""

import asyncio
import os
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import fmean, quantiles
from uuid import UUID, uuid4

import uvloop
from pydantic import SecretStr

from bench.context import Context
from bench.cpu import cores_used, middle_of
from bench.guilder import verify
from bench.load import Run
from bench.results import figure_of
from guilder.bootstrap import audit_signer, open_keys
from guilder.core.actor import SYSTEM
from guilder.core.clock import SystemClock
from guilder.core.errors import Refusal
from guilder.core.ports import AuditSigner
from guilder.db.engine import Database, is_sqlite
from guilder.db.migrate import upgrade
from guilder.db.run import Runner
from guilder.domains.ledger.commands import (
    Category,
    EnsureBankAccounts,
    OpenLedgerAccount,
    ensure_bank_accounts,
    open_ledger_account,
)
from guilder.domains.ledger.poster import Poster
from guilder.domains.ledger.rules.state import Posting, Unit
from guilder.domains.ledger.store.postgres import PostgresStore
from guilder.domains.ledger.store.sqlite import SqliteStore
from guilder.infra.process.settings import Settings

FUNDS = 1_000_000_000
CURRENCY = "USD"


@dataclass(frozen=True)
class EngineCase:
    """So many callers, each submitting units of so many postings."""

    name: str
    callers: int
    size: int
    hot: bool = False


@dataclass
class Stage:
    """A running poster and the accounts that pay each other."""

    poster: Poster
    accounts: list[int]
    description: str
    random: Random
    user: UUID

    def unit(self, case: EngineCase) -> Unit:
        """Make a unit of random transfers; in a hot case one account is in all of them."""
        return Unit([self._posting(case.hot) for _ in range(case.size)])

    def _posting(self, hot: bool) -> Posting:
        payer, payee = self.random.sample(self.accounts, 2)
        hottest = self.accounts[0]
        if hot and hottest not in (payer, payee):
            payer, payee = self.random.choice(((hottest, payee), (payer, hottest)))
        return Posting(
            payer,
            payee,
            self.random.randint(1, 1000),
            CURRENCY,
            key=os.urandom(16),
            fingerprint=os.urandom(16),
            created_by=self.user,
            description=self.description or None,
        )


def measure_engine(context: Context, kind: str) -> None:
    """Post straight into the poster of one process, on a fresh database."""
    name = f"engine_{kind}"
    url = context.database(kind, name)
    data = context.folder / f"{name}_data"
    data.mkdir()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_measure(context, kind, url, data))
    verify(context, name, url, data)


def _cases(context: Context) -> list[EngineCase]:
    cases = [EngineCase("engine, 64 callers, one each", 64, 1)]
    for size in context.options.batches:
        cases.append(EngineCase(f"engine, 4 callers, {size} each", 4, size))
        cases.append(EngineCase(f"engine, 4 callers, {size} each, hot", 4, size, hot=True))
    return cases


async def _measure(context: Context, kind: str, url: str, data: Path) -> None:
    """Measure all cases in turns."""
    await upgrade(url)
    signer = _signer(url, data)
    stage = await _open(url, context, signer)
    options = context.options
    try:
        await _fund(stage, url, signer)
        cases = _cases(context)
        runs: dict[EngineCase, list[Run]] = {case: [] for case in cases}
        used: dict[EngineCase, list[dict[str, float]]] = {case: [] for case in cases}
        watched = context.watched(kind, os.getpid())
        for case in cases:
            await _load(stage, case, options.warmup)
        for number in range(options.runs):
            for case in cases:
                with cores_used(watched) as cores:
                    run = await _load(stage, case, options.seconds)
                runs[case].append(run)
                used[case].append(cores)
                errors = f", {run.errors} ERRORS" if run.errors else ""
                told = f"run {number + 1}: {run.rate:,.0f} transfers/s{errors}"
                context.tell(f"{kind}: {case.name}: {told}")
    finally:
        await stage.poster.stop()
    for case in cases:
        facts = {"database": kind, "workers": 1, "connections": case.callers, "hot": case.hot}
        batch = case.size if case.size > 1 else None
        figure = figure_of(
            runs[case],
            unit="transfers/s",
            section="engine",
            name=case.name,
            batch=batch,
            cpu=middle_of(used[case]),
            **facts,
        )
        context.results.figures.append(figure)


def _signer(url: str, data: Path) -> AuditSigner:
    """Make the keys of a sandbox, and what signs the audit trail with them."""
    settings = Settings(env="sandbox", data_dir=data, database_url=SecretStr(url))
    return audit_signer(settings, open_keys(settings, SystemClock()))


async def _open(url: str, context: Context, signer: AuditSigner) -> Stage:
    """Open the accounts and start a poster."""
    clock = SystemClock()
    database = Database(url)
    runner = Runner(database, clock, signer=signer)
    accounts = []
    for number in range(context.options.accounts):
        command = OpenLedgerAccount(CURRENCY, Category.LIABILITY, f"bench {number}", clock.now_us())
        accounts.append((await runner.run(open_ledger_account, command, SYSTEM)).number)
    await database.close()
    poster = Poster(SqliteStore(url, clock) if is_sqlite(url) else PostgresStore(url, clock))
    poster.start()
    return Stage(poster, accounts, context.options.description, Random(1), uuid4())


async def _fund(stage: Stage, url: str, signer: AuditSigner) -> None:
    """Give every account money from the settlement account."""
    clock = SystemClock()
    database = Database(url)
    bank = await Runner(database, clock, signer=signer).run(
        ensure_bank_accounts, EnsureBankAccounts(CURRENCY, clock.now_us()), SYSTEM
    )
    await database.close()
    settlement = bank["settlement"]
    deposits = [Posting(settlement, number, FUNDS, CURRENCY) for number in stage.accounts]
    await stage.poster.submit(Unit(deposits, atomic=True))


async def _load(stage: Stage, case: EngineCase, seconds: int) -> Run:
    """Keep every caller busy for some seconds."""
    latencies: list[float] = []
    items = wrong = 0
    start = time.perf_counter()
    until = start + seconds

    async def call() -> None:
        nonlocal items, wrong
        while (begun := time.perf_counter()) < until:
            unit = stage.unit(case)
            try:
                answer = await stage.poster.submit(unit)
            except Refusal:
                wrong += 1
                await asyncio.sleep(0.01)
                continue
            latencies.append((time.perf_counter() - begun) * 1000)
            created = sum(result.status == "created" for result in answer.results)
            items += created
            wrong += created != case.size

    async with asyncio.TaskGroup() as group:
        for _ in range(case.callers):
            group.create_task(call())
    passed = time.perf_counter() - start
    return _run_of(latencies, items, wrong, passed)


def _run_of(latencies: list[float], items: int, wrong: int, seconds: float) -> Run:
    """Sum up a run as wrk would."""
    cuts = quantiles(latencies, n=100) if len(latencies) > 1 else [0.0] * 99
    return Run(
        requests=len(latencies),
        items=items,
        seconds=seconds,
        mean_ms=fmean(latencies) if latencies else 0.0,
        p50_ms=cuts[49],
        p95_ms=cuts[94],
        p99_ms=cuts[98],
        max_ms=max(latencies, default=0.0),
        bytes=0,
        status_errors=0,
        content_errors=wrong,
        socket_errors=0,
        timeouts=0,
    )
