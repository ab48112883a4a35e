"""Measures, as ratios beside something simple, in one run: absolute figures mean little here."""
