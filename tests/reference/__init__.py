"""Recorded runs of the original, replayed on ours: every difference is one the specification wants."""
