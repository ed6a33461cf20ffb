"""Masks: the scene classification, the cloud model, and the mask of a scene."""
