"""CrossTrade on paper: frames, functions, arguments, replies and refusals, with no socket and no clock.

``frames`` has the messages of both roles, ``wire`` turns text into them and back. ``rpc`` is the table of functions;
``checks`` looks at arguments before they are sent, ``replies`` reads what comes back, ``outcomes`` says what an error
text means, ``orders`` and ``routes`` translate between our commands, the socket and REST.
"""
