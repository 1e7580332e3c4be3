"""A random walk over one real host: moves that nobody planned, and what must hold after each of them."""
