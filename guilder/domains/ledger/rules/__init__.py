"""The ledger's pure rules: values in ``state``, decisions in ``decide``, limits in ``windows``."""
