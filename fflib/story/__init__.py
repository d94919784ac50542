"""Chapters 9 and 10: the whole ladder, beside the paper's, and the tables of a sweep."""
