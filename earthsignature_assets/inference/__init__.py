"""From patches to classes: one engine interface, two engines, seam-free tiling. No Dagster inside."""
