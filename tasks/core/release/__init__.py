"""What a node is to run: the files, their names, the apiservers as the node reaches them. Pure.

It knows settings and facts; it knows no SSH.
"""
