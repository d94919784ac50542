"""The machine and the clock: how a time, a price and an energy come about."""
