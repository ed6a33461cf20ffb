"""The Dagster resources: the settings of a deployment, turned into objects."""
