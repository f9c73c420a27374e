"""What transfers bring to the house."""

from typing import Final

from guilder.api.slices import Slice
from guilder.domains.transfers import routes

SLICE: Final = Slice(routers=(routes.router, routes.simulations_router))
