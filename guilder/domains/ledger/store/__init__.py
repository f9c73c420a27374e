"""The two stores of the ledger: raw driver code for PostgreSQL and SQLite behind one protocol."""
