"""Patches: writing, the patch store, and retention."""
