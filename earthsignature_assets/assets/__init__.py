"""The assets, one module per step of the chain, in the order of the chain."""
