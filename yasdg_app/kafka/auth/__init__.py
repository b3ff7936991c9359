"""Connecting to a cluster that requires authentication, and the diagnosis if it refuses the login."""
