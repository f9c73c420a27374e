"""What the audit trail brings to the house."""

from typing import Final

from guilder.api.slices import Slice
from guilder.domains.audit import routes

SLICE: Final = Slice(routers=(routes.router,))
