"""What makes the book of the chapters: the bench they work at, running, rendering, comparing, taking a model home."""
