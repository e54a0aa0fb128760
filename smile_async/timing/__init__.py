"""When: clocks, when to ask again, how long to back off, and what is due.

Of a job nothing here knows more than its ids. It may touch errors, limits and the log; `clock` and `virtual_clock`
alone wait for anything.
"""
