"""Spark's checkpoint of a query, read and rewritten without Spark.

Start with `Checkpoint`, the files of one query. `log_entry` is the format of Spark's offset log,
`position` finds the positions of this suite's sources in an entry, `lag` compares them with the
streams, and `rewind` makes the entry that moves a stopped query.
"""
