"""The checks of materialisations. They read the files back from disk."""
