"""Identity: who may come in.

Words. A *user* is a login: an e-mail address, a password and a role. A *session* is one sign-in on
one device; an *access token* proves it for 15 minutes, a *refresh token* for 30 days. An *e-mail
key* is the form of an address by which two spellings of it are one user.

Invariants. An e-mail key belongs to one user at most. Neither a password nor a token is stored,
only hashes of them. Whether an address has a user shows neither in the answer to a login nor in the
work it takes.
"""
