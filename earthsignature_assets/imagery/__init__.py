"""From STAC items to patches: discovery, cloud mask, harmonising, resampling, splitting. No Dagster inside."""
