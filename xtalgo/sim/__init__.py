"""A venue on paper: the simulated exchange, the replay loop around it, and a synthetic market."""
