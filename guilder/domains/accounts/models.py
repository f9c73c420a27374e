"""Accounts of customers. The money is in the ledger; this table says whose it is."""

from sqlalchemy import Column, ForeignKey, Index, Table

from guilder.db.base import STRICT, Big, Guid, String, metadata, only_changes
from guilder.db.digests import digest_rows

accounts = Table(
    "accounts",
    metadata,
    Column("id", Guid, primary_key=True),
    Column("ledger_number", Big, ForeignKey("ledger_accounts.id"), nullable=False, unique=True),
    Column("owner_user_id", Guid, ForeignKey("identity_users.id"), nullable=False),
    Column("product_code", String, nullable=False),
    Column("account_number", String, nullable=False, unique=True),
    Column("currency", String, nullable=False),
    Column("name", String, nullable=False),
    Column("status", String, nullable=False),
    Column("created_at", Big, nullable=False),
    # An owner's accounts, newest first: the ledger's numbers follow the order of opening.
    Index(None, "owner_user_id", "ledger_number"),
    **only_changes("name", "status"),
    **STRICT,
)

digest_rows(accounts)
