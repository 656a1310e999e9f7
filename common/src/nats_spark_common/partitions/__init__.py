"""Numbered sets of streams, as the flavor nats-partitioned reads them.

Start with `plan`: the set that is asked for. `mark` is what the streams' metadata say,
`differences` compares a stream with the plan; `look`, `create` and `delete` work on the server.
"""
