"""The audit trail, as operators browse it and ``guilder verify`` checks it.

Words. An *audit event* is one phase of one attempt at a command: *attempted* before it began,
*succeeded* or *failed* after it. Both carry the attempt's id. An *open attempt* has no outcome.

Invariants. Audit events are numbered without gaps and chained by hash; nobody changes one.
"""
