"""The ladder on a graphics card: ways to serve that a card makes possible, and what its limits allow."""
