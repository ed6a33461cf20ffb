"""How the shipped `corine-unet` is made: its data, teacher, pretrained weights, cross-validation, and card."""
