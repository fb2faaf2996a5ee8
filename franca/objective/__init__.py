"""The training objective: Matryoshka heads, prototypes, Sinkhorn-Knopp, DINO, iBOT, KoLeo."""
