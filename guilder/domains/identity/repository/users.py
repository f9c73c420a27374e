"""The SQL of users."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row, bindparam, func, or_, select, true
from sqlalchemy.dialects import postgresql, sqlite

from guilder.core.actor import Actor
from guilder.core.permissions import Role
from guilder.core.text import search_text, search_words
from guilder.db.base import String
from guilder.db.unit_of_work import UnitOfWork, View
from guilder.domains.identity.models import users
from guilder.domains.identity.rules.users import User, UserFilter, email_key

_INSERT: Final = {
    "postgresql": postgresql.insert(users).on_conflict_do_nothing(
        index_elements=[users.c.email_key]
    ),
    "sqlite": sqlite.insert(users).on_conflict_do_nothing(index_elements=[users.c.email_key]),
}

USER: Final = (
    users.c.id,
    users.c.email,
    users.c.full_name,
    users.c.role,
    users.c.is_active,
    users.c.email_verified,
    users.c.created_at,
    users.c.disputed_at,
)


NO_PASSWORD: Final = ""
"""In the place of the hash of a closed login: nothing fits it, after the same work."""


async def insert_user(uow: UnitOfWork, user: User, password_hash: str) -> bool:
    """Store a user; False when the address has one, also one who comes at the same moment."""
    done = await uow.execute(
        _INSERT[uow.dialect].values(
            id=user.id,
            email_key=email_key(user.email),
            **_searchable({"email": user.email, "full_name": user.full_name}),
            password_hash=password_hash,
            role=user.role.value,
            is_active=user.is_active,
            email_verified=user.email_verified,
            created_at=user.created_at,
        )
    )
    return done.rowcount == 1


async def find_by_email(view: View, email: str) -> User | None:
    """The user of an address."""
    row = await view.first(select(*USER).where(users.c.email_key == email_key(email)))
    return None if row is None else to_user(row)


async def lock_by_email(uow: UnitOfWork, email: str) -> User | None:
    """The user of an address, locked until the transaction ends."""
    row = await uow.first(
        select(*USER).where(users.c.email_key == email_key(email)).with_for_update()
    )
    return None if row is None else to_user(row)


async def marks_besides(view: View, prefix: str, known: Sequence[str]) -> list[str]:
    """Some beginnings of stored hashes that have the prefix and are not ``known``, all as long."""
    mark = func.substr(users.c.password_hash, 1, len(known[0]), type_=String)
    wanted = mark.startswith(prefix, autoescape=True) & mark.not_in(known)
    return [row[0] for row in await view.all(select(mark).where(wanted).distinct().limit(5))]


async def count(view: View) -> int:
    """How many there are."""
    return await view.scalar(select(func.count()).select_from(users)) or 0


async def find_active_user(view: View, user_id: UUID) -> User | None:
    """An active user."""
    row = await view.first(select(*USER).where(users.c.id == user_id, users.c.is_active == true()))
    return None if row is None else to_user(row)


_HELD: Final = (
    select(users.c.id)
    .where(users.c.id.in_(bindparam("ids", expanding=True)), users.c.is_active == true())
    .order_by(users.c.id)
    .with_for_update(key_share=True, read=True)
)


async def hold_active(uow: UnitOfWork, user_ids: Collection[UUID]) -> set[UUID]:
    """Those of some users who are active; who locks one of them waits for this transaction.

    Those who hold them do not wait for each other.
    """
    return {row.id for row in await uow.all(_HELD, {"ids": list(user_ids)})}


async def lock_active_user(uow: UnitOfWork, user_id: UUID) -> tuple[User, str] | None:
    """An active user with the hash of the password, locked until the transaction ends."""
    row = await uow.first(
        select(*USER, users.c.password_hash)
        .where(users.c.id == user_id, users.c.is_active == true())
        .with_for_update()
    )
    return None if row is None else (to_user(row), row.password_hash)


async def find_with_password(view: View, actor: Actor) -> tuple[User, str] | None:
    """The acting user with the hash of the password, if active."""
    row = await view.first(
        select(*USER, users.c.password_hash).where(
            users.c.id == actor.user_id, users.c.is_active == true()
        )
    )
    return None if row is None else (to_user(row), row.password_hash)


async def is_closed(view: View, user_id: UUID) -> bool:
    """Whether the user has closed their login, for good."""
    closed_at = await view.scalar(select(users.c.closed_at).where(users.c.id == user_id))
    return closed_at is not None


async def note_factors_given_up(uow: UnitOfWork, user_id: UUID, *, given_up: bool) -> None:
    """Whether factors of the user were removed by a letter, and nobody has set that right."""
    await change_user(uow, user_id, {"factors_given_up_at": uow.now_us if given_up else None})


async def has_given_up_factors(view: View, user_id: UUID) -> bool:
    """Whether that is so."""
    given_up_at = await view.scalar(
        select(users.c.factors_given_up_at).where(users.c.id == user_id)
    )
    return given_up_at is not None


async def close_user(uow: UnitOfWork, user_id: UUID) -> None:
    """Close a login: nobody signs in with it, and its address may have another one."""
    await uow.execute(
        users.update()
        .where(users.c.id == user_id)
        .values(
            is_active=False,
            closed_at=uow.now_us,
            email_key=f"closed {user_id}",
            password_hash=NO_PASSWORD,
        )
    )


async def give_up_address(uow: UnitOfWork, user_id: UUID) -> None:
    """A login keeps everything but its address, which may have another one."""
    await uow.execute(
        users.update().where(users.c.id == user_id).values(email_key=f"given up {user_id}")
    )


async def dispute(uow: UnitOfWork, user_id: UUID) -> None:
    """Somebody has signed up once more with the address of a login, which nobody has proved."""
    await uow.execute(users.update().where(users.c.id == user_id).values(disputed_at=uow.now_us))


async def lock_active_admins(uow: UnitOfWork) -> list[UUID]:
    """The active admins, locked until the transaction ends."""
    rows = await uow.all(
        select(users.c.id)
        .where(users.c.role == Role.ADMIN.value, users.c.is_active == true())
        .order_by(users.c.id)
        .with_for_update()
    )
    return [row.id for row in rows]


async def user(view: View, user_id: UUID) -> User | None:
    """A user, for an admin."""
    row = await view.first(select(*USER).where(users.c.id == user_id))
    return None if row is None else to_user(row)


async def lock_user(uow: UnitOfWork, user_id: UUID) -> User | None:
    """A user, locked until the transaction ends; for an admin."""
    row = await uow.first(select(*USER).where(users.c.id == user_id).with_for_update())
    return None if row is None else to_user(row)


async def newest_users(
    view: View, wanted: UserFilter, before: UUID | None, count: int, offset: int
) -> list[User]:
    """Users, for an admin: the newest first, on from the id ``before``."""
    statement = select(*USER)
    if wanted.text is not None:
        for word in search_words(wanted.text):
            statement = statement.where(
                or_(
                    users.c.folded_email.contains(word, autoescape=True),
                    users.c.folded_full_name.contains(word, autoescape=True),
                )
            )
    if wanted.role is not None:
        statement = statement.where(users.c.role == wanted.role.value)
    if wanted.is_active is not None:
        statement = statement.where(users.c.is_active == wanted.is_active)
    if before is not None:
        statement = statement.where(users.c.id < before)
    statement = statement.order_by(users.c.id.desc()).limit(count).offset(offset)
    return [to_user(row) for row in await view.all(statement)]


async def change_user(uow: UnitOfWork, user_id: UUID, values: Mapping[str, Any]) -> User | None:
    """Change columns of a user, none of them too, and give the user back as stored."""
    if not values:
        return await user(uow, user_id)
    row = await uow.first(
        users.update().where(users.c.id == user_id).values(**_searchable(values)).returning(*USER)
    )
    return None if row is None else to_user(row)


def _searchable(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values, and beside an address or a name what it is found by."""
    folded = {
        f"folded_{name}": None if values[name] is None else search_text(values[name])
        for name in ("email", "full_name")
        if name in values
    }
    return {**values, **folded}


def to_user(row: Row[Any]) -> User:
    """The user that a row of the columns ``USER`` tells of."""
    return User(
        row.id,
        row.email,
        row.full_name,
        Role(row.role),
        row.is_active,
        row.email_verified,
        row.created_at,
        row.disputed_at is not None,
    )
