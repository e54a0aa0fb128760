"""When: clocks, when to ask again, how long to back off, and what is due.

Nothing here knows what a job is. It may touch errors; `clock` and `virtual_clock` alone wait for anything.
"""
