"""Pictures of what a backbone sees: colours of its patches, its attention, and what it takes for alike."""
