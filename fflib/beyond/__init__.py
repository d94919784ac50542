"""Chapter 8: systems around the served model, work that need not be done, and the limit of the processor."""
