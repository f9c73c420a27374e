"""The reads of identity."""

from uuid import UUID

from guilder.core.errors import Unauthenticated
from guilder.db.unit_of_work import View
from guilder.domains.identity import repository
from guilder.domains.identity.rules import User


async def session_user(view: View, session_id: UUID, user_id: UUID) -> User:
    """Whose session it is; refuses one that has ended or whose user is switched off."""
    user = await repository.find_user_of_session(view, session_id, user_id)
    if user is None:
        raise Unauthenticated()
    return user


async def user_by_email(view: View, email: str) -> User | None:
    """The user with this address, None when there is none."""
    found = await repository.find_by_email(view, email)
    return None if found is None else found[0]
