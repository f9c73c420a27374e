"""What transfers bring to the house."""

from typing import Final

from guilder.api.slices import Slice
from guilder.domains.transfers import routes

SLICE: Final = Slice(
    tags={
        "transfers": "Moving money between accounts, one by one and in batches.",
        "simulations": "Money out of nowhere and the test clock, in the sandbox only.",
    },
    routers=(routes.router, routes.simulations_router),
)
