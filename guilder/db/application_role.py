"""PostgreSQL's role that the application steps down to: it cannot change or delete history.

Roles are the server's, and what they may is each database's own: so every database has a role of
its own, named by the database's number, and the application takes on the one that its database has
granted its tables to, whatever other banks there are on the server. Where a server allows no roles
the triggers alone protect history.

What migrations call here is for ever: old ones call it too.
"""

from collections.abc import Iterable
from typing import Final

from alembic import op
from sqlalchemy import text

PLACEHOLDER: Final = "guilder_app"
"""Stands for the role in the statements of migrations. It was the name of all banks' role once."""

_MAY_SET: Final = """pg_has_role(current_user, role.oid, CASE
  WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END)"""

APPLICATION_ROLE: Final = """
SELECT role.rolname FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) granted
  JOIN pg_roles role ON role.oid = granted.grantee
 WHERE c.oid = to_regclass('alembic_version') AND granted.privilege_type = 'SELECT'
   AND role.rolname ~ '^guilder_app(_[0-9]+)?$' AND <may set>
 ORDER BY length(role.rolname) DESC LIMIT 1""".replace("<may set>", _MAY_SET)
"""The role of this database, no row where there is none that this user may take on."""

SET_ROLE: Final = (
    "SELECT set_config('role', found.rolname, false) "  # noqa: S608 - of constants
    f"FROM ({APPLICATION_ROLE}) found"
)
"""Takes on the role for the rest of the session, where there is one."""

_MAKE: Final = """
DO $$ DECLARE
  made text := 'guilder_app_' || (SELECT oid FROM pg_database WHERE datname = current_database());
BEGIN
  BEGIN EXECUTE format('CREATE ROLE %I NOLOGIN', made);
  EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
    WHEN insufficient_privilege THEN RAISE NOTICE 'no role %', made; END;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = made) THEN RETURN; END IF;
  IF NOT (SELECT <may set> FROM pg_roles role WHERE rolname = made) THEN
    BEGIN EXECUTE format('GRANT %I TO CURRENT_USER', made);
    EXCEPTION WHEN insufficient_privilege THEN
      RAISE NOTICE 'role % is not ours to take on', made; RETURN; END;
  END IF;
  EXECUTE format('GRANT SELECT ON alembic_version TO %I', made);
END $$""".replace("<may set>", _MAY_SET)


def make_application_role(grants: Iterable[str]) -> None:
    """Make the role where there is none and it may be made, and grant it what ``PLACEHOLDER`` is.

    Nothing happens where the server does not allow it.
    """
    if op.get_bind().scalar(text(APPLICATION_ROLE)) is None:
        op.execute(_MAKE)
    for grant in grants:
        for_the_application(grant)


def for_the_application(statement: str) -> None:
    """Run a GRANT or REVOKE for the database's role, for which ``PLACEHOLDER`` stands in it."""
    bind = op.get_bind()
    if (role := bind.scalar(text(APPLICATION_ROLE))) is not None:
        quoted = bind.dialect.identifier_preparer.quote(role)
        op.execute(text(statement.replace(PLACEHOLDER, quoted)))
