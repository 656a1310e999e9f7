"""The sink that all flavors share: rows of DataFrames become JetStream messages.

Start with `jetstream_sink`: `JetStreamSink` is what a flavor's ``DefaultSource`` inherits. The
other modules follow the path of a row: `columns` (which columns are written), `rows` and `headers`
(validated messages), `encode` (bytes), `publisher` and `fast_batch` (pipelined and acknowledged),
`pub_acks`, `publish_errors` and `rejected_rows` (the server's replies). `writer` runs these steps
in a task, `in_flight` holds the unacknowledged rows, and `targets` finds the streams of subjects.
`best_effort` publishes without acks.

`task_record` and `stored_rows` make writes exactly-once, with `task_id`, `kv_bucket` and
`server_processes`. `atomic_batch` makes them all-or-nothing. `ensure_stream` creates the stream.
`arrays` converts Arrow columns to NumPy, and `counts` tells the listeners of `observe` what was
written.
"""
