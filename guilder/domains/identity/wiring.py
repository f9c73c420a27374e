"""What identity brings to the house."""

from typing import Final

from guilder.api.slices import Slice
from guilder.core.jobs import Job
from guilder.db.run import Runner
from guilder.domains.identity.routes import (
    factors,
    letter_pages,
    letters,
    own_login,
    passkeys,
    profile,
    revocation,
    sign_in,
    users,
    well_known,
)
from guilder.domains.identity.services.letters import LETTERS
from guilder.domains.identity.subscribers import (
    LETTER_SUBSCRIBER,
    prune_old_letters,
    prune_old_logins,
)

SLICE: Final = Slice(
    tags={
        "identity": "Signing up and in, sessions, second factors, and what one is called.",
    },
    routers=(
        sign_in.router,
        sign_in.auth_router,
        revocation.router,
        letters.router,
        profile.router,
        own_login.router,
        factors.router,
        passkeys.router,
        users.router,
    ),
    root_routers=(
        sign_in.auth_router,
        revocation.router,
        revocation.metadata_router,
        letter_pages.router,
        well_known.router,
    ),
    subscribers=(LETTER_SUBSCRIBER,),
    jobs=(
        Job("forget old letters", 3600.0, lambda parts: prune_old_letters(parts[Runner])),
        Job("drop old logins", 300.0, lambda parts: prune_old_logins(parts[Runner])),
    ),
    letters=LETTERS,
)
