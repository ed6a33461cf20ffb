"""The one console command, `earthsignature`."""
