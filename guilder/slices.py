"""Every domain that is wired into the house, in the order of the API's reference."""

from typing import Final

from guilder.api.slices import Slice
from guilder.domains.accounts.wiring import SLICE as ACCOUNTS
from guilder.domains.audit.wiring import SLICE as AUDIT
from guilder.domains.identity.wiring import SLICE as IDENTITY
from guilder.domains.ledger.wiring import SLICE as LEDGER
from guilder.domains.transfers.wiring import SLICE as TRANSFERS

SLICES: Final[tuple[Slice, ...]] = (IDENTITY, ACCOUNTS, TRANSFERS, LEDGER, AUDIT)
