"""RASA: what it takes to remove position from patch features, and what is left of it afterwards."""
