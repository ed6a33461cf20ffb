"""The server: options, the table of services, reflection, start and stop."""
