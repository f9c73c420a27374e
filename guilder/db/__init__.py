"""Everything that knows SQLAlchemy and no domain: engines, transactions, the runner."""
