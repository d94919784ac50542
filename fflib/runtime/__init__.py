"""Chapter 6: the graph that is served, and the engines that can serve it."""
