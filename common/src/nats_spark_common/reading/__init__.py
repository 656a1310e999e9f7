"""Reads a range of a stream in a task, exactly.

Start with `range_reader`: it retries, checks for data loss and chooses how to fetch. `direct` uses
direct get batches, `ordered` an ordered consumer, and `single_gets` one request for each message.
`decode` and `deliveries` turn received bytes into columns, and `spans` cuts single columns out.
"""
