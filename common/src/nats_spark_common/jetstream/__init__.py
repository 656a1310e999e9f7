"""The JetStream API.

Start with `api`: the values of requests and replies. `control` sends requests from the driver, over
nats-py (`blocking_client`; `violations` ends those that the user may not send); `requests` sends
them from tasks, over a connection of the pool. `create_stream` creates a stream from the options,
and `arrivals` waits for the next message.
"""
