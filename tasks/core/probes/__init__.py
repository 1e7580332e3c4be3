"""Which apiservers a node reaches, seen through SSH."""
