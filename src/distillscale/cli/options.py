"""What several command lines share."""

LARGEST_SEED = 2**32 - 1
"""What NumPy's generators take."""
