"""Ranks and reductions that do nothing on one process."""
