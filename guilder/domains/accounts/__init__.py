"""Customer accounts: products on ledger accounts, their balances, lines and statements.

Words. A *product* says what kind of account one can open and in which currencies. An *account* is
what a customer holds: an id, an account number with a check digit, a name, an owner; its money is
one ledger account. A *line* is one side of a transfer as the account's owner sees it. A
*statement* is a month of lines between two balances.

Invariants. The id of an account is the public id of its ledger account. Id, number, owner and
currency never change. A balance is what the customer owns (credit-normal), in minor units, and is
always read from the ledger. Another customer's account is the same as one that does not exist.
"""
