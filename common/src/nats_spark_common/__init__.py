"""What the connectors share: settings, connections, decoding, rows.

For users: `NatsSettings` and the errors. For connectors: the modules, each of which says in its
first lines what it is for. Data flows one way: `settings` → what to read (`admission`, `ranges`;
`replay` where Spark keeps the position) in the driver → `reading` (`direct`, `ordered` over `wire`)
and `schema` in the tasks. The other way, out of Spark, is `sink`. `source` and `query_reader` are
what the flavors' entry points inherit.
"""

from .errors import (
    AuthError,
    ConnectError,
    ConsumerNotFoundError,
    DataLossError,
    FencedError,
    JetStreamUnavailableError,
    NatsSparkError,
    OptionError,
    PartitionSetError,
    PayloadError,
    ProtocolError,
    PublishError,
    ReplayError,
    ServerError,
    StreamNotFoundError,
    TimeoutExpiredError,
    UnsupportedConsumerError,
    UnsupportedSparkError,
    UnsupportedStreamError,
)
from .options.settings import NatsSettings
from .spark.worker_logs import configure

configure()

__all__ = [
    "AuthError",
    "ConnectError",
    "ConsumerNotFoundError",
    "DataLossError",
    "FencedError",
    "JetStreamUnavailableError",
    "NatsSettings",
    "NatsSparkError",
    "OptionError",
    "PartitionSetError",
    "PayloadError",
    "ProtocolError",
    "PublishError",
    "ReplayError",
    "ServerError",
    "StreamNotFoundError",
    "TimeoutExpiredError",
    "UnsupportedConsumerError",
    "UnsupportedSparkError",
    "UnsupportedStreamError",
]
