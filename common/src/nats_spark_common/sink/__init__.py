"""The sink that all flavors share: rows of DataFrames become JetStream messages.

Start with `jetstream_sink`: `JetStreamSink` is what a flavor's ``DefaultSource`` inherits. The
other modules follow the path of a row: `columns` (which columns are written), `rows` and `headers`
(validated messages), `encode` (bytes), `publisher` and `fast_batch` (pipelined and acknowledged),
`pub_acks` and `publish_errors` (the server's answers). `task_record` and `stored_rows` make writes
exactly-once, `atomic_batch` makes them all-or-nothing.
"""
