"""How nginx is fetched, compiled and kept on this machine.

It knows settings; it knows no node of the fleet.
"""
