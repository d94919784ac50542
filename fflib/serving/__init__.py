"""Chapter 7: cores, instances, a server under load, a fleet."""
