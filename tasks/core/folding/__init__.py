"""What many nodes have alike: told once, with how many they are.

It knows texts only.
"""
