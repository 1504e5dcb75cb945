"""One module for each command, or for several that belong together; ``app.cli`` lists them."""
