"""Every guard is needed: without any one of them a test of access turns red."""

from pathlib import Path

import pytest

from tests.access.planting import ROOT, turns_red

REPOSITORY = "guilder/domains/{}/repository.py"
SIGN_IN = "guilder/domains/identity/repository/sign_in.py"
SESSION_ROWS = "guilder/domains/identity/repository/sessions.py"
FACTORS = "guilder/domains/identity/repository/factors.py"
SESSIONS = "guilder/domains/identity/commands/sessions.py"
RULES = "guilder/domains/identity/rules/letters.py"
TOKENS = "guilder/infra/security/tokens.py"
PASSKEYS = "guilder/infra/security/passkeys.py"
SUITE = [
    "tests/access/test_effects_routes.py", "tests/access/test_matrix_routes.py",
    "tests/infra/test_tokens.py", "tests/infra/test_passkeys.py", "tests/domains/identity",
    "tests/domains/accounts", "tests/domains/transfers",
]  # fmt: skip

GUARDS: list[tuple[str, str, str]] = [
    ("guilder/api/routing.py", "require_permission(exchange.actor, requirements.permission)",
     "pass"),
    ("guilder/api/routing.py", "if requirements.permission is not None:\n        await (",
     "if False:\n        await ("),
    ("guilder/api/routing.py", "if requirements.fresh:", "if False:"),
    ("guilder/api/auth.py", "require_fresh(_act(exchange, who), tokens.clock.now_us())",
     "_act(exchange, who)"),
    ("guilder/core/actor.py", "abs(now_us - actor.proved_at) >= FRESH_US", "False"),
    (TOKENS, 'claims["exp"] <= now or', "False or"),
    (TOKENS, 'max(claims["iat"], claims["nbf"]) > now + SKEW_SECONDS', "False"),
    (TOKENS, 'or claims["typ"] != ACCESS', "or False"),
    (TOKENS, "audience=AUDIENCE", 'audience=["another", AUDIENCE]'),
    (TOKENS, "issuer=ISSUER", 'issuer=["another", ISSUER]'),
    (TOKENS, "next((one for one in self._keys.good() if one.header == header), None)",
     "self._keys.current()"),
    (TOKENS, "rest != _written", "False and _written"),
    (TOKENS, 'not 1 <= claims["ver"] <= HIGHEST_VERSION', "False"),
    (TOKENS, 'claims["exp"] - claims["iat"] > ACCESS_SECONDS', "False"),
    (TOKENS, "str(found := UUID(text)) != text", "(found := UUID(text)) is None"),
    (TOKENS, "type(claims[name]) is not int", "False"),
    ("guilder/api/auth.py", 'header[:7].lower() != b"bearer "', 'b" " not in header'),
    (SIGN_IN, "sessions.c.ended_at.is_(None),\n            sessions.c.expires_at",
     "sessions.c.expires_at"),
    (SIGN_IN, "users.c.id == user_id,\n            users.c.is_active == true(),",
     "users.c.is_active == true(),"),
    (SIGN_IN, "users.c.id == user_id,\n            users.c.is_active == true(),",
     "users.c.id == user_id,"),
    (SESSION_ROWS, "sessions.c.id == session_id, sessions.c.user_id == user_id",
     "sessions.c.id == session_id"),
    (SESSION_ROWS, ".where(sessions.c.user_id == actor.user_id)", ""),
    (SIGN_IN, "            ~refused(users.c.id, version, view.now_us),\n", ""),
    (SESSION_ROWS, "func.coalesce(sessions.c.ended_at, refused_at(now_us))",
     "sessions.c.ended_at + 0"),
    (SESSIONS, "if await factors.active_totp(uow, cmd.user_id) is not None:", "if False:"),
    (SESSIONS, "elif not await use_factor(uow, cmd.user_id, cmd.factor):", "elif False:"),
    (FACTORS, "totps.c.last_step < step,", ""),
    (FACTORS, "passkeys.c.user_id == user_id,\n            or_(", "or_("),
    (FACTORS, "delete().where(passkeys.c.id == passkey_id, passkeys.c.user_id == actor.user_id",
     "delete().where(passkeys.c.id == passkey_id"),
    (FACTORS, "        passkeys.c.id == passkey_id, passkeys.c.user_id == actor.user_id\n",
     "        passkeys.c.id == passkey_id\n"),
    (FACTORS, ".where(passkeys.c.user_id == actor.user_id)", ""),
    (PASSKEYS, "hmac.compare_digest(mac, _mac(k, head, purpose))", "True"),
    (PASSKEYS, 'credential["response"]["userHandle"]) != user:',
     'credential["response"]["userHandle"]) is None:'),
    (REPOSITORY.format("accounts"), "row is None or not may_read(actor, row.owner_user_id)",
     "row is None"),
    ("guilder/domains/accounts/services.py", "if owns(actor, one.owner)]", "]"),
    (REPOSITORY.format("accounts"), "select(accounts).where(owned(_OWNER))", "select(accounts)"),
    (REPOSITORY.format("accounts"), "select(_c.ledger_number).where(owned(_OWNER))",
     "select(_c.ledger_number)"),
    ("guilder/db/ownership.py", 'return owner == bindparam("owner")',
     "return owner.is_not(None)"),
    ("guilder/domains/accounts/queries.py", "in rows.items() if owns(actor, row.owner_user_id)",
     "in rows.items()"),
    ("guilder/domains/transfers/queries.py", "if not own and not sees_everything(actor):",
     "if False:"),
    ("guilder/domains/transfers/services.py",
     "if source is not None and owns(payer.actor, source.owner):", "if source is not None:"),
    ("guilder/domains/transfers/services.py",
     "not may_read(actor, account.owner)", "False"),
    ("guilder/core/ownership.py", "owner is not None and owner == actor.acts_for",
     "owner is not None"),
    ("guilder/db/ownership.py", "return owner == actor.acts_for",
     "return owner.is_not(None)"),
    (RULES, "letter.purpose is not purpose or letter.used_at is not None",
     "letter.used_at is not None"),
    (RULES, "letter.purpose is not purpose or letter.used_at is not None",
     "letter.purpose is not purpose"),
    (RULES, "Ok(letter) if now_us < letter.expires_at else Err(TokenExpired())", "Ok(letter)"),
    ("guilder/domains/identity/repository/letters.py",
     "letters.c.hash == hash_, users.c.is_active", "letters.c.hash == hash_"),
    ("guilder/domains/identity/services/authentication.py",
     "user.is_active and (user.email_verified or not self.requires_verification)",
     "user.is_active"),
    (SESSION_ROWS, "statement = statement.where(sessions.c.id == only)", "pass"),
    (SESSION_ROWS, "statement = statement.where(sessions.c.id != but)", "pass"),
    ("guilder/domains/identity/commands/rotations.py", "_rotate(uow, cmd.user_id, ",
     "_rotate(uow, None, "),
    ("guilder/api/idempotency.py", "digest(actor.scope, text)", "digest(text)"),
    ("guilder/core/actor.py", 'else f"{self.name}:{self.ip_address}"', "else self.name"),
    ("guilder/api/pagination.py", "filters, exchange.actor.scope])", "filters])"),
    ("guilder/api/pagination.py", "filters, exchange.actor.scope])", "exchange.actor.scope])"),
    ("guilder/api/pagination.py", '[exchange.scope["path"], filters, ', "[filters, "),
    ("guilder/domains/transfers/services.py", "p.key = digest(owner, key_text)",
     "p.key = digest(key_text)"),
    ("guilder/domains/transfers/services.py", "unit.key = digest(payer.text, BATCH, key_text)",
     "unit.key = digest(BATCH, key_text)"),
]  # fmt: skip


def test_every_guard_stands_where_it_is_said_to() -> None:
    for file, guard, _ in GUARDS:
        assert (ROOT / file).read_text(encoding="utf-8").count(guard) == 1, f"{file}: {guard}"


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("file", "guard", "without"), GUARDS, ids=[f"guard{number}" for number in range(len(GUARDS))]
)
def test_without_a_guard_the_tests_of_access_turn_red(
    file: str, guard: str, without: str, tmp_path: Path
) -> None:
    source = (ROOT / file).read_text(encoding="utf-8")
    turns_red(file, source.replace(guard, without), SUITE, tmp_path)
