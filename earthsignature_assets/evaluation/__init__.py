"""Evaluation: confusion, calibration, intervals, the promotion decision, pages, and cards."""
