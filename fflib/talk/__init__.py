"""The talk: a deck of slides from a run, live demos that go on from a recording, and the check before."""
