"""The console command `earthsignature`."""
