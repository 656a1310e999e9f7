"""Numbered sets of streams, as the flavor nats-partitioned reads them.

Start with `plan`: the requested set and the configurations of its streams. `mark` identifies the
streams of a set by their metadata, and `differences` compares a stream with the plan. `create`,
`delete` and `snapshot` (what the streams hold now) work on the server.
"""
