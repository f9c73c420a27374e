"""Identity: who may come in.

Words. A *user* is a login: an e-mail address, a password and a role. A *session* is one sign-in on
one device; an *access token* proves it for 15 minutes, a *refresh token* for 14 days. An *e-mail
key* is the form of an address by which two spellings of it are one user. A *factor* is what a user
proves beside or instead of the password: a code of an authenticator app (*TOTP*), a recovery code,
a signature of a *passkey*. To *step up* is to prove oneself again within a session.

Invariants. An e-mail key belongs to one user at most. Neither a password nor a token nor a recovery
code is stored, only hashes of them; the secret of an app is sealed. Whether an address has a user
shows neither in the answer to a login nor in the work it takes. Every session is opened by
``open_session``, and every factor is used once.
"""
