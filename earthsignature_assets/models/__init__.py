"""The model repository, ground truth, training, evaluation and model cards. No Dagster inside."""
