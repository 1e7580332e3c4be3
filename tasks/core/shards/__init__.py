"""Parts of the fleet: which nodes a task means, and what several runs have come to as one.

It connects to nothing: what runs have come to is in the documents that `--json` wrote.
"""
