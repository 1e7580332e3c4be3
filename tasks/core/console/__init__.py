"""What people and programs read: lines, tables, the summary, the JSON document.

It is told things and asks nothing; it knows no host.
"""
