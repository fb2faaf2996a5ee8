"""The parts a vision transformer is made of."""
