"""A run on one page: curves, scores, pictures."""
