"""Experiments behind the recipe of `corine-unet`: the value of each part, and of each part of the atmosphere."""
