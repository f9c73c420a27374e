"""HTTP plumbing that all routes share. It knows FastAPI and knows no domain.

A request goes through one gateway (``middleware``): it looks the route up in a table, authenticates
the caller, refuses unknown query parameters, reads the body within its limits and parses it through
the JSON gate. What is left is either FastAPI's, or, for the two hot routes, a plain function. Both
ways refuse with the same problems, since everything before them is the same code.
"""
