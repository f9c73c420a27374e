"""What administration brings to the house."""

from typing import Final

from guilder.api.slices import Slice
from guilder.domains.admin import routes

SLICE: Final = Slice(routers=(routes.router,))
