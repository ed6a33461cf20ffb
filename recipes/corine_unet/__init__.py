"""The recipe of the shipped `corine-unet`: its data, teacher, pretrained weights, cross-validation, and card."""
