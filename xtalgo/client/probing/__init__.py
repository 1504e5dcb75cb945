"""Finding a venue's dialect out: steps as scripts that say what to send and conclude from what is heard.

A script is a generator: it yields instructions and is sent what came of them, so it knows neither socket nor clock.
``script`` has the means, the other modules the steps, ``plan`` their order.
"""
