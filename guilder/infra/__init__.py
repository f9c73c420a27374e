"""Adapters for core ports and the machinery of a process; no domain knowledge."""
