"""Training: networks, augmentation, optimisation, export, and quantisation. Needs the extra `train`."""
