"""What is known of a node at one moment, and what follows from it. Pure.

It knows settings; it knows no SSH, and no shell text.
"""
