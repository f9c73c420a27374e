"""What accounts bring to the house."""

from typing import Final

from guilder.api.slices import Slice
from guilder.domains.accounts import routes

SLICE: Final = Slice(
    tags={"accounts": "What can be opened; balances, transactions and statements."},
    routers=(routes.router,),
)
