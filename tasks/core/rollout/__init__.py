"""From what a node is to what it is to be: the release, the plan, the order of nodes."""
