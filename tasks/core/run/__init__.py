"""A task that runs: its opening, its steps over hosts, its locks, its end.

It knows SSH and the console; it knows no step of any task.
"""
