"""From a model and images to features: preprocessing, extraction, and the table that protocols read."""
