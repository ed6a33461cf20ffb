"""Imagery providers: STAC APIs, their dialects, credentials, and the retry policy."""
