"""What is said: jobs, pictures, tickets, verdicts, and what a result code means.

Pure values: no wire name, no file, no clock. It may touch errors and urls.
"""
