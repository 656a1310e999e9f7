"""The NATS protocol: what server and client send each other. Pure: no sockets, no settings.

Start with `operations` (the client protocol's frames). `subjects` matches and compares subjects,
`ack_subject` reads the reply subject of a delivered message, `timestamps` converts the server's
times, and `partition_names` numbers the streams of a partitioned set.
"""
