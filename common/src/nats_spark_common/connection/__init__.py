"""One blocking connection to a NATS server, for bulk traffic.

Start with `connection` (the socket and its buffer); `connect` makes one: addresses, TLS, and the
credentials of `auth`. `pool` keeps idle connections for the next task, `retry` bounds retries,
`silence` remembers servers that did not answer, and `outage` logs how long a server was away.
"""
