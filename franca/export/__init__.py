"""Backbones for other programs, each read back by its program and compared."""
