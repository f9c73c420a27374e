"""Moving money between accounts, one by one and in batches.

Words. A *transfer* is a ledger transfer as a customer sees it: there is no copy of it here, and no
table. The *payer's* account is debited, the *payee's* credited. A *batch* is up to 2,000 transfers
in one request, each for itself or all or none.

Invariants. Only the owner pays from an account; anyone may be paid. Every way in goes through the
poster, so the ledger's rules decide. The answer to a request depends on what never changes alone,
so that it can be given again, byte for byte, when its key comes back.
"""
