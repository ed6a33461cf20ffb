"""Access: tokens, authorisation, and TLS."""
