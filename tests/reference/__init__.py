"""Recorded runs of the original, replayed on ours: every difference is one the specification wants.

    jobs       the recorded jobs as definitions
    words      what ours shows, answers and tells, in the words of the recording
    player     a step, done by the real clients and engine on the memory backend
    original   where the original stands after a step, and ours standing there
    compare    the differences of a step
    rules      why ours differs: the table, with `facts` of a step; `debounce`, `tasks`, `failures` apart
    replay     all steps of all runs

After a difference that lasts, ours is put where the original stands. So each step is judged by itself:
no rule has to excuse what an earlier difference led to, and a difference stays as visible late in a run
as at its beginning. What ours makes of its own history is the matter of the other tests.
"""
