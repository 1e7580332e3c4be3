"""The scripts of templates/: parameters, exit statuses, typed answers. Pure.

It knows settings and facts; it runs nothing.
"""
