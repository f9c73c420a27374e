"""The ledger: double entry, holds, limits, batches and the hash chain. Nothing else moves money.

Words. A *posting* is what a caller asks for; once accepted it is a *transfer*: one debit account,
one credit account, one amount, one asset. Each transfer leaves one *entry* on either account. A
*hold* sets money aside until it is captured, released or expires. A *unit* is what one caller
posts together; a *batch* is what one database transaction commits. The *head* is the row every
batch locks first; it numbers transfers without gaps and carries the clock and the chain.

Invariants. Debits equal credits per asset, always. History is never updated or deleted. Transfer
numbers follow commit order. An account's entries carry versions 1, 2, 3 ... without a gap. No
balance that was not read under the head's lock decides anything.
"""
