"""What goes over the wire: users and sessions, and second factors."""
