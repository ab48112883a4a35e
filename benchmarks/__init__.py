"""Measures, as ratios beside something simple, in one run: absolute figures on a shared machine mean little."""
