"""The writes of identity. What needs a password or a signature as well is in ``services``."""
