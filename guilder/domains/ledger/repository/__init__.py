"""Statements of the ledger outside the posting engine."""
