"""Chapter 4: heads, neurons, layers and words are taken out, by what they matter and what they cost."""
