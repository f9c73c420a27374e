"""Identity over HTTP: coming in, one's own sessions and settings, and the users for an admin."""
