"""Checks of a set-up: servers, streams, consumers, permissions, credentials, interpreters.

Start with `finding`, what every check returns. `examine` asks the server as a query would and runs
the checks; each of the other modules judges one kind of thing.
"""
