"""Imagery providers: STAC APIs, their dialects, credentials, and the policy of tries."""
