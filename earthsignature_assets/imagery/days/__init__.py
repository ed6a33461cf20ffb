"""Days: discovery, scene verdicts, and the archive and map of a day."""
