"""One blocking connection to a NATS server, for bulk traffic.

Start with `connection` (the socket; `buffer` holds the received bytes). `connect` creates one to
one of the `servers`: TLS (`tls_errors` explains failures), and the credentials of `auth`. `pool`
keeps idle connections for the next task, `retry` bounds retries, `silence` records servers that did
not respond, and `outage` logs how long no server was reachable.
"""
