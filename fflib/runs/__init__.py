"""A run and what it leaves: parameters, what a result came from, records, the ladder."""
