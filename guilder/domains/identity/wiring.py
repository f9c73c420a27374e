"""What identity brings to the house."""

from typing import Final

from guilder.api.slices import Slice
from guilder.core.jobs import Job
from guilder.db.run import Runner
from guilder.domains.identity.routes import (
    admin,
    entrance,
    factors,
    letter_pages,
    letters,
    own,
    passkeys,
)
from guilder.domains.identity.services.letters import LETTERS
from guilder.domains.identity.subscribers import LETTER_SUBSCRIBER, forget_old_letters, prune

SLICE: Final = Slice(
    routers=(
        entrance.router,
        entrance.auth_router,
        letters.router,
        own.router,
        factors.router,
        passkeys.router,
        admin.router,
    ),
    root_routers=(entrance.auth_router, letter_pages.router),
    subscribers=(LETTER_SUBSCRIBER,),
    jobs=(
        Job("forget old letters", 3600.0, lambda parts: forget_old_letters(parts[Runner])),
        Job("drop old logins", 300.0, lambda parts: prune(parts[Runner])),
    ),
    letters=LETTERS,
)
