"""How nginx is fetched, compiled and kept."""
