"""Chapter 3: a small student learns from a teacher."""
