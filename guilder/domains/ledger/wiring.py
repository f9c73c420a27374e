"""What the ledger brings to the house."""

from typing import Final

from guilder.api.slices import Slice
from guilder.core.jobs import Job
from guilder.db.run import Runner
from guilder.domains.ledger import routes
from guilder.domains.ledger.poster import Poster
from guilder.domains.ledger.subscribers import expire_due_holds

SLICE: Final = Slice(
    routers=(routes.router,),
    jobs=(
        Job("expire due holds", 1.0, lambda parts: expire_due_holds(parts[Runner], parts[Poster])),
    ),
)
