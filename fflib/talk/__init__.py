"""The talk: a deck of slides of a run, demos that go on from their recording, the check of the evening before."""
