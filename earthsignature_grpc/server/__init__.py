"""The server: its options, the table of services, reflection, start and stop."""
