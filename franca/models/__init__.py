"""Backbones: how they are built, named, stored and loaded. Needs torch and the standard library only."""
