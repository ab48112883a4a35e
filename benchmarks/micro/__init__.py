"""What single operations cost, in instructions, and what a job asks of its store: figures that repeat.

`operations` are what is counted, `child` runs them, `counting` has valgrind count; `embedded` is an engine
with a store at hand. `python -m benchmarks.micro` compares with the committed figures and fails if one has
risen.
"""
