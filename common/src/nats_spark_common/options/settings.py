"""The settings of every flavor and of the sink, in one model.

A setting comes from the first of these layers that has it: the options of the reader or writer, the
environment (``NATS_…``), the context of the nats CLI (``nats.context``), the defaults. An
option is named like its field, with dots instead of underscores: ``nats.max.bytes.per.trigger`` is
the field ``max_bytes_per_trigger`` and the variable ``NATS_MAX_BYTES_PER_TRIGGER``.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from ..errors import OptionError
from ..rows.compression import LARGEST_PAYLOAD, MAX_DECOMPRESSED
from .consistency import check_together, without_rivals
from .files import require_files, with_file_texts
from .java_variables import warn_of_unused_variables
from .layers import IDENTITY, Layer, merge, one_identity
from .names import environment_layer, field_option, options_layer, parser
from .nats_context import used_context
from .positions import Earliest, Latest, Positions
from .types import (
    AckPolicy,
    Bucket,
    Compression,
    ConsumerName,
    Count,
    Duration,
    End,
    Flavor,
    OnError,
    PartitionCount,
    PositiveDuration,
    Retention,
    SinkMode,
    Size,
    Start,
    Storage,
    StreamNames,
    StreamPrefix,
    Subjects,
    UnknownColumns,
    Urls,
    Via,
)

_BALANCED_MAX_MESSAGES = 100_000

#: The fields that identify a connection: the servers and the user.
_CONNECTION_FIELDS = (
    "url",
    *IDENTITY,
    "tls_ca",
    "tls_ca_pem",
    "tls_cert",
    "tls_cert_pem",
    "tls_key",
    "tls_key_secret",
    "tls_first",
    "tls_hostname",
    "inbox_prefix",
)


class NatsSettings(BaseSettings):
    """The settings of one reader or writer; build them with `from_options`.

    Durations are in seconds, sizes in bytes. Secrets are masked in every representation. The class
    is long because it is the one list of all options.
    """

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    # Connection.
    url: Urls = Field(("nats://localhost:4222",), description="server URLs, comma-separated")
    user: str | None = Field(None, description="user name")
    password: SecretStr | None = Field(None, description="password of the user")
    token: SecretStr | None = Field(None, description="authentication token")
    nkey_seed_secret: SecretStr | None = Field(None, description="nkey seed (SU…)")
    nkey_seed_file: str | None = Field(None, description="file with the nkey seed")
    credential_file: str | None = Field(None, description="credentials file (JWT and nkey seed)")
    credential_secret: SecretStr | None = Field(None, description="contents of a credentials file")
    tls_ca: str | None = Field(None, description="PEM file of trusted CAs")
    tls_cert: str | None = Field(None, description="PEM file of the client certificate")
    tls_key: str | None = Field(None, description="PEM file of the client key")
    tls_ca_pem: str | None = Field(None, description="contents of a PEM file of trusted CAs")
    tls_cert_pem: str | None = Field(
        None, description="contents of the client certificate's PEM file"
    )
    tls_key_secret: SecretStr | None = Field(
        None, description="contents of the client key's PEM file"
    )
    files_ship: bool = Field(
        False, description="read the files on the driver only, and send their contents to executors"
    )
    tls_first: bool = Field(False, description="start the TLS handshake before INFO")
    tls_hostname: str | None = Field(
        None, description="expected host name in the server certificate"
    )
    domain: str | None = Field(None, description="JetStream domain")
    js_api_prefix: str | None = Field(None, description="JetStream API prefix instead of $JS.API")
    context: str | None = Field(None, description="nats CLI context: name or JSON file")
    inbox_prefix: str = Field("_INBOX", description="prefix of reply subjects")
    connection_name: str = Field(
        "nats-spark", description="connection name in the server's monitoring"
    )
    connect_timeout: PositiveDuration = Field(
        5.0, description="timeout for connecting to one server"
    )
    request_timeout: PositiveDuration = Field(5.0, description="timeout for a reply")
    retry_count: Annotated[int, Field(ge=0)] = Field(
        10, description="retries of a failed request; pauses grow from 0.1 s to 5 s"
    )
    ping_interval: PositiveDuration = Field(
        120.0, description="ping interval of the driver's connection"
    )
    reconnect_wait: Duration = Field(0.25, description="pause before the driver reconnects")
    allow_reconnect: bool = Field(True, description="whether the driver reconnects")

    # Reading.
    stream_name: StreamNames = Field((), description="stream names, comma-separated")
    stream_pattern: str | None = Field(None, description="glob pattern of stream names")
    stream_subjects: Subjects = Field(
        (), description="filter subjects, comma-separated; also the subjects of a created stream"
    )
    start: Start = Field(
        Positions(Earliest()),
        description="start position: earliest, latest, a sequence, an RFC 3339 time, -1h, or JSON "
        "per stream",
    )
    end: End = Field(
        Positions(Latest()),
        description="end position of a batch read, in the same forms; an end time is exclusive",
    )
    max_messages_per_trigger: Count | None = Field(None, description="maximum messages per batch")
    max_bytes_per_trigger: Size | None = Field(
        None, description="maximum bytes per batch, estimated from the mean message size"
    )
    min_messages_per_trigger: Annotated[int, Field(ge=0)] = Field(
        0, description="minimum messages to start a batch"
    )
    max_trigger_delay: Duration = Field(
        900.0, description="maximum wait for nats.min.messages.per.trigger"
    )
    target_batch_duration: PositiveDuration | None = Field(
        None, description="adapt the batch size to this duration"
    )
    partitions: Count | None = Field(
        None, description="tasks per batch; default: cores of the driver's machine"
    )
    min_range: Count = Field(10_000, description="minimum sequences per task")
    fetch_bytes: Annotated[Size, Field(ge=1 << 16, le=1 << 25)] = Field(
        4 << 20, description="maximum bytes per request of a task, 64KiB to 32MiB"
    )
    fetch_messages: Count = Field(100_000, description="maximum messages per request of a task")
    read_via: Via = Field(
        "auto",
        description="read with direct gets, through a consumer, or the cheaper of the two: auto, "
        "direct or consumer",
    )
    poll_interval: PositiveDuration = Field(
        0.1,
        description="poll interval of an idle query, longer if polls of many streams would take a "
        "tenth of the time; V2 and partitioned also wake when a message is stored",
    )
    fail_on_data_loss: bool = Field(
        True, description="fail if messages were removed before they were read"
    )
    lag_consumer: ConsumerName | None = Field(
        None,
        description="V2, partitioned: a durable consumer at the query's position, for display in "
        "NATS's tools (server 2.14)",
    )
    payload_compression: Compression = Field(
        "none", description="payload compression: none, zlib, gzip or zstd"
    )
    payload_on_error: OnError = Field(
        "raw", description="if a payload cannot be decompressed: raw (keep it), null, or fail"
    )
    payload_max_decompressed: Size = Field(
        MAX_DECOMPRESSED,
        le=LARGEST_PAYLOAD,
        description="maximum size of a decompressed payload, less than 2 GiB",
    )
    flavor: Flavor = Field(
        "v2", description="flavor of format('nats'): v2, balanced or partitioned"
    )

    # The balanced flavor.
    durable_name: ConsumerName | None = Field(
        None, description="balanced: durable consumer, created if it does not exist (required)"
    )
    num_listeners: Count | None = Field(
        None,
        description="balanced: tasks per batch; default: nats.partitions, with at least "
        "nats.min.range messages each",
    )
    msg_ack_wait_secs: PositiveDuration = Field(
        60.0, description="balanced: ack_wait of a created consumer"
    )
    msg_fetch_batch_size: Count | None = Field(
        None, description="balanced: maximum messages per pull; a batch may take several pulls"
    )
    msg_receive_wait_millis: Duration = Field(
        0.05, description="balanced: how long a pull waits for more messages"
    )
    pull_consumer_max_ack_pending: Count | None = Field(
        None, description="balanced: max_ack_pending of a created consumer"
    )
    pull_ahead: bool = Field(
        True,
        description="balanced: if batches of 10000 messages or more are full, pull the next one "
        "while one runs",
    )
    pull_consumer_max_batch: Count | None = Field(
        None, description="balanced: max_batch of a created consumer"
    )
    idle_timeout_minutes: Duration | None = Field(
        None, description="balanced: stop polling after this time without a message"
    )
    ack_policy: AckPolicy = Field(
        "explicit",
        description="balanced: an ack for each message, or one for each batch, which needs a "
        "consumer that no other client uses: explicit or all",
    )
    ack_none: bool = Field(False, description="balanced: read without acknowledging")
    js_define_stream: bool = Field(
        True, description="balanced: create the stream if it does not exist"
    )
    js_define_consumer: bool = Field(
        True,
        description="balanced: create the consumer if it does not exist",
    )
    consumer_update: bool = Field(
        False, description="balanced: update the existing consumer from the options at start"
    )
    storage_type: Storage = Field("file", description="storage of a created stream")
    storage_replicas: Annotated[int, Field(ge=1, le=5)] = Field(
        1, description="replicas of a created stream"
    )
    reset_on_start: bool = Field(
        False, description="balanced: redeliver pulled but unlogged messages immediately at start"
    )

    # The partitioned flavor.
    stream_prefix: StreamPrefix | None = Field(
        None, description="partitioned: the streams are <prefix>-0, <prefix>-1, ..."
    )
    num_partitions: PartitionCount = Field(
        "auto",
        description="partitioned: number of streams, or auto: all that exist, including new ones",
    )
    reset_on_restart: bool = Field(
        False, description="partitioned, V2: start each run at nats.start, ignoring the checkpoint"
    )

    # The sink.
    sink_mode: SinkMode = Field(
        "at-least-once", description="guarantee: at-least-once, best-effort or exactly-once"
    )
    sink_subject: str | None = Field(None, description="subject of rows without one")
    sink_unknown_columns: UnknownColumns = Field(
        "fail", description="if there are columns that the sink does not write: fail, or drop them"
    )
    sink_atomic: bool = Field(
        False,
        description="store all rows of a task or none; up to 1,000 rows per task (server 2.12)",
    )
    sink_create_stream: bool = Field(
        False, description="create the stream nats.stream.name if it does not exist"
    )
    sink_retention: Retention = Field(
        "limits", description="retention of a created stream: limits, interest or workqueue"
    )
    sink_duplicate_window: Duration = Field(
        120.0, description="duplicate window of a created stream"
    )
    sink_max_in_flight: Size = Field(8 << 20, description="maximum unacknowledged bytes per task")
    sink_bucket: Bucket = Field(
        "nats_spark_sink", description="exactly-once: key-value bucket for task records"
    )

    # Options of the Scala connectors that have no counterpart here.
    datetime_format: str | None = Field(
        None, description="no effect: the column timestamp is a timestamp"
    )
    flush_wait_millis: Duration | None = Field(None, description="no effect: the sink awaits acks")
    connection_outgoingqueue_maxmessages: Count | None = Field(
        None, description="no effect: see nats.sink.max.in.flight"
    )
    pull_batcher_initial_delay: str | None = Field(
        None, description="no effect: there is no batcher"
    )
    pull_batcher_frequency_secs: str | None = Field(
        None, description="no effect: there is no batcher"
    )

    @classmethod
    def from_options(cls, options: Mapping[str, str], *, flavor: str | None = None) -> NatsSettings:
        """Return the settings from the options of a reader or writer and the other layers.

        Args:
            options: as Spark passes them; names that do not begin with ``nats.`` are ignored.
            flavor: the flavor that is used; it decides a default.

        Raises:
            OptionError: an option is wrong; has the option, its value and the allowed values.
            AuthError: with ``nats.files.ship``, a file cannot be read.
        """
        fields = cls.model_fields
        warn_of_unused_variables(os.environ)
        layers = [options_layer(options, fields), environment_layer(os.environ, fields)]
        layers += used_context(*layers)
        layers = without_rivals(one_identity(layers), parser(fields))
        if flavor == "balanced":
            layers.append(Layer({"max_messages_per_trigger": str(_BALANCED_MAX_MESSAGES)}))
        merged = merge(layers)
        try:
            settings = cls(**merged.values)  # type: ignore[arg-type]
        except ValidationError as error:
            raise OptionError(_error_text(error, merged)) from None
        require_files(settings)
        return with_file_texts(settings) if settings.files_ship else settings

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)  # `from_options` has merged the layers already

    @property
    def tasks(self) -> int:
        """Return the number of tasks per batch: ``nats.partitions``, or this machine's cores."""
        return self.partitions or os.cpu_count() or 1

    @property
    def owns_consumer(self) -> bool:
        """Return whether the options promise that no other client uses the durable consumer."""
        return self.reset_on_start or self.ack_policy == "all"

    def connection_key(self) -> str:
        """Return a hash that is equal for equal servers and user; it reveals no secret."""
        parts = []
        for name in _CONNECTION_FIELDS:
            value = getattr(self, name)
            parts.append(value.get_secret_value() if isinstance(value, SecretStr) else str(value))
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    @model_validator(mode="after")
    def _check_together(self) -> NatsSettings:
        check_together(self)
        return self


def _error_text(error: ValidationError, merged: Layer) -> str:
    """Return the first validation error in the user's terms, without the value of a secret."""
    first = error.errors(include_url=False)[0]
    reason = first["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if not first["loc"]:
        return reason
    name = str(first["loc"][0])
    if first["type"] == "value_error" and reason.startswith("nats."):
        return reason
    if name not in merged.values:
        return f"{field_option(name)}: {reason}"
    secret = "SecretStr" in str(NatsSettings.model_fields[name].annotation)
    text = merged.values[name]
    shown = "(secret)" if secret else repr(text if len(text) <= 200 else f"{text[:200]}...")
    expected = first.get("ctx", {}).get("expected") or reason[:1].lower() + reason[1:]
    return f"{merged.origins.get(name, name)}={shown}: expected {expected}"
