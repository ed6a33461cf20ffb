"""Band and scene readers, radiometry, and resampling."""
