"""From files or drawn images to the batches that a training step sees."""
