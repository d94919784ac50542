"""The encoder, its weights, and what every technique does with it: training, slicing, importance, operations."""
