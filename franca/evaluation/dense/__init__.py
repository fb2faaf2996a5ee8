"""Protocols that judge patch features, and their parts."""
