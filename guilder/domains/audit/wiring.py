"""What the audit trail brings to the house."""

from typing import Final

from guilder.api.slices import Slice
from guilder.domains.audit import routes

SLICE: Final = Slice(
    tags={"admin": "For those who run the bank: its users, rotations and the audit trail."},
    routers=(routes.router,),
)
