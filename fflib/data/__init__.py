"""The tasks and their examples: where they come from, splits, batches, metrics."""
