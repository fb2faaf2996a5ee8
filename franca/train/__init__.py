"""Training: the step, its schedules and optimizer, the loop, checkpoints and the run folder."""
