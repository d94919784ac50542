"""Chapter 5: integers of eight bits, and numbers of sixteen."""
