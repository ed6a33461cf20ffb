"""Recipes of shipped models: research code outside the wheel."""
