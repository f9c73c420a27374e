"""Every SQL statement of identity: users with their sessions, letters, and second factors."""
