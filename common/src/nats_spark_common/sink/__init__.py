"""The sink that all flavors share: rows of DataFrames become messages of JetStream.

Start with `jetstream_sink`: `JetStreamSink` is what a flavor's ``DefaultSource`` inherits. The
other modules follow the way of a row: `columns` (which columns are written), `rows` and `headers`
(checked messages), `encode` (bytes), `publisher` (pipelined, acknowledged), `pub_acks` and
`publish_errors` (the server's answers). `ledger` and `kv_bucket` make it exactly-once,
`atomic_batch` all or nothing.
"""
