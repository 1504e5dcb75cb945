"""Files: recordings of quotes."""
