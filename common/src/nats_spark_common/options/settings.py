"""One settings model for every flavor and the sink.

Layers, the first that names a setting wins: the options of the reader or writer, the environment
(``NATS_…``), the NATS command line's context that they name (``nats.context``), the defaults. An
option is its field with dots for underscores: ``nats.max.bytes.per.trigger`` is the field
``max_bytes_per_trigger`` and the variable ``NATS_MAX_BYTES_PER_TRIGGER``.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from ..errors import AuthError, OptionError
from ..rows.compression import MAX_DECOMPRESSED
from .layers import IDENTITY, Layer, one_identity, require_sound
from .names import environment_layer, field_option, options_layer
from .nats_context import context_layer
from .positions import Earliest, Latest, Positions, parse_positions
from .types import (
    ConsumerName,
    Count,
    Duration,
    PartitionCount,
    PositiveDuration,
    Size,
    StreamNames,
    StreamPrefix,
    Subjects,
    Urls,
)


def _positions(option: str, otherwise: Any) -> BeforeValidator:
    def parse(value: Any) -> Any:
        return parse_positions(option, value, otherwise) if isinstance(value, str) else value

    return BeforeValidator(parse)


def _lower(value: Any) -> Any:
    return value.strip().lower() if isinstance(value, str) else value


def _compression(value: Any) -> Any:
    return "none" if _lower(value) == "uncompressed" else _lower(value)  # the Scala name


_Start = Annotated[Positions, _positions("nats.start", Earliest())]
_End = Annotated[Positions, _positions("nats.end", Latest())]
_Compression = Annotated[Literal["none", "zlib", "gzip", "zstd"], BeforeValidator(_compression)]
_OnError = Annotated[Literal["raw", "fail", "null"], BeforeValidator(_lower)]
_Flavor = Annotated[Literal["v2", "balanced", "partitioned"], BeforeValidator(_lower)]
_SinkMode = Annotated[
    Literal["at-least-once", "best-effort", "exactly-once"], BeforeValidator(_lower)
]
_UnknownColumns = Annotated[Literal["fail", "drop"], BeforeValidator(_lower)]
_Retention = Annotated[Literal["limits", "interest", "workqueue"], BeforeValidator(_lower)]
_Bucket = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]
_Storage = Annotated[Literal["file", "memory"], BeforeValidator(_lower)]

_BALANCED_MAX_MESSAGES = 100_000

#: Fields that say how to reach the server, and as whom.
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
#: Fields that name a file, and those that hold what would stand in it.
_FILE_FIELDS = {
    "nkey_seed_file": "nkey_seed_secret",
    "credential_file": "credential_secret",
    "tls_ca": "tls_ca_pem",
    "tls_cert": "tls_cert_pem",
    "tls_key": "tls_key_secret",
}


class NatsSettings(BaseSettings):
    """Settings of one reader or writer; build them with `from_options`.

    Durations are in seconds, sizes in bytes. Secrets show as stars wherever they are printed.
    """

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    # How to reach the server.
    url: Urls = Field(("nats://localhost:4222",), description="server URLs, comma-separated")
    user: str | None = Field(None, description="user name")
    password: SecretStr | None = Field(None, description="password of the user")
    token: SecretStr | None = Field(None, description="authentication token")
    nkey_seed_secret: SecretStr | None = Field(None, description="nkey seed (SU…) itself")
    nkey_seed_file: str | None = Field(None, description="file that holds the nkey seed")
    credential_file: str | None = Field(None, description="credentials file (JWT and nkey seed)")
    credential_secret: SecretStr | None = Field(None, description="text of a credentials file")
    tls_ca: str | None = Field(None, description="PEM file of the CAs to trust")
    tls_cert: str | None = Field(None, description="PEM file of the client certificate")
    tls_key: str | None = Field(None, description="PEM file of the client certificate's key")
    tls_ca_pem: str | None = Field(None, description="text of a PEM file of the CAs to trust")
    tls_cert_pem: str | None = Field(None, description="text of the client certificate's PEM file")
    tls_key_secret: SecretStr | None = Field(None, description="text of its key's PEM file")
    files_ship: bool = Field(
        False, description="read these files in the driver, for executors that do not have them"
    )
    tls_first: bool = Field(False, description="begin with the TLS handshake, before INFO")
    tls_hostname: str | None = Field(None, description="host name that the certificate must have")
    domain: str | None = Field(None, description="JetStream domain")
    js_api_prefix: str | None = Field(None, description="JetStream API prefix, if not $JS.API")
    context: str | None = Field(None, description="NATS command line context: name or JSON file")
    inbox_prefix: str = Field("_INBOX", description="prefix of reply subjects")
    connection_name: str = Field("nats-spark", description="name shown in the server's monitoring")
    connect_timeout: PositiveDuration = Field(5.0, description="time for one server to answer")
    request_timeout: PositiveDuration = Field(5.0, description="time for a reply")
    retry_count: Annotated[int, Field(ge=0)] = Field(
        10, description="retries of a failed request, with pauses from 0.1 s doubling up to 5 s"
    )
    ping_interval: PositiveDuration = Field(120.0, description="pings on the driver's connection")
    reconnect_wait: Duration = Field(0.25, description="pause before reconnecting in the driver")
    allow_reconnect: bool = Field(True, description="whether the driver's connection reconnects")

    # What to read, and how much at a time.
    stream_name: StreamNames = Field((), description="streams, comma-separated")
    stream_pattern: str | None = Field(None, description="streams by a glob over their names")
    stream_subjects: Subjects = Field(
        (), description="filter subjects, comma-separated; subjects of a stream that is created"
    )
    start: _Start = Field(
        Positions(Earliest()),
        description="earliest, latest, a sequence, an RFC 3339 time, -1h, or JSON per stream",
    )
    end: _End = Field(
        Positions(Latest()), description="end of a batch read: as nats.start; a time is excluded"
    )
    max_messages_per_trigger: Count | None = Field(None, description="most messages of a batch")
    max_bytes_per_trigger: Size | None = Field(
        None, description="size of a batch, estimated from the streams' mean message size"
    )
    min_messages_per_trigger: Annotated[int, Field(ge=0)] = Field(
        0, description="no batch before so many messages are there"
    )
    max_trigger_delay: Duration = Field(900.0, description="... but a smaller batch after so long")
    target_batch_duration: PositiveDuration | None = Field(
        None, description="adapt the size of batches so that one takes this long"
    )
    partitions: Count | None = Field(
        None, description="tasks of a batch; by default the cores of the driver's machine"
    )
    min_range: Count = Field(10_000, description="fewest sequences of a task")
    fetch_bytes: Annotated[Size, Field(ge=1 << 16, le=1 << 25)] = Field(
        4 << 20, description="bytes asked for in one bulk request, 64KiB to 32MiB"
    )
    fetch_messages: Count = Field(100_000, description="messages asked for in one bulk request")
    poll_interval: PositiveDuration = Field(
        0.1, description="how often an idle query asks for new messages"
    )
    fail_on_data_loss: bool = Field(
        True, description="fail when messages were removed before they were read"
    )
    payload_compression: _Compression = Field(
        "none", description="none, zlib, gzip or zstd: how payloads are compressed"
    )
    payload_on_error: _OnError = Field(
        "raw", description="a payload that does not decompress: raw (as it is), null, or fail"
    )
    payload_max_decompressed: Size = Field(
        MAX_DECOMPRESSED, description="bytes of a payload once it is decompressed, at most"
    )
    flavor: _Flavor = Field("v2", description="what format nats stands for")

    # The balanced flavor.
    durable_name: ConsumerName | None = Field(
        None, description="balanced: the durable consumer, made if it is missing (required)"
    )
    num_listeners: Count | None = Field(
        None,
        description="balanced: tasks that share a batch; by default nats.partitions, of at least "
        "nats.min.range messages",
    )
    msg_ack_wait_secs: PositiveDuration = Field(
        60.0, description="balanced: ack wait of a consumer that is created"
    )
    msg_fetch_batch_size: Count | None = Field(
        None, description="balanced: most messages of a pull, of which a batch takes several"
    )
    msg_receive_wait_millis: Duration = Field(
        0.05, description="balanced: how long a pull waits for further messages"
    )
    pull_consumer_max_ack_pending: Count | None = Field(
        None, description="balanced: max_ack_pending of a consumer that is created"
    )
    pull_consumer_max_batch: Count | None = Field(
        None, description="balanced: max_batch of a consumer that is created"
    )
    idle_timeout_minutes: Duration | None = Field(
        None, description="balanced: ask no more after so long without a message"
    )
    ack_none: bool = Field(False, description="balanced: read without acks")
    js_define_stream: bool = Field(True, description="balanced: create a missing stream")
    js_define_consumer: bool = Field(True, description="balanced: create a missing consumer")
    consumer_update: bool = Field(
        False, description="balanced: change the consumer at start to what the options say"
    )
    storage_type: _Storage = Field("file", description="storage of a stream that is created")
    storage_replicas: Annotated[int, Field(ge=1, le=5)] = Field(
        1, description="replicas of a stream that is created"
    )
    reset_on_start: bool = Field(
        False, description="balanced: take back pulled, unlogged messages at once"
    )

    # The partitioned flavor.
    stream_prefix: StreamPrefix | None = Field(
        None, description="partitioned: the streams are called by it, a dash and a number from 0 on"
    )
    num_partitions: PartitionCount = Field(
        "auto",
        description="partitioned: how many streams, or auto: all that exist, also those that join",
    )
    reset_on_restart: bool = Field(
        False, description="partitioned, V2: begin each run at nats.start, whatever was read before"
    )

    # The sink.
    sink_mode: _SinkMode = Field(
        "at-least-once", description="at-least-once, best-effort or exactly-once"
    )
    sink_subject: str | None = Field(None, description="subject of rows that carry none")
    sink_unknown_columns: _UnknownColumns = Field(
        "fail", description="columns that are no part of a message: fail, or drop with a warning"
    )
    sink_atomic: bool = Field(
        False, description="store all rows of a task or none, up to 1,000 a task (server 2.12)"
    )
    sink_create_stream: bool = Field(
        False, description="create the stream nats.stream.name if it is missing"
    )
    sink_retention: _Retention = Field(
        "limits", description="retention of a stream that is created: limits, interest, workqueue"
    )
    sink_duplicate_window: Duration = Field(
        120.0, description="duplicate window of a stream that is created"
    )
    sink_max_in_flight: Size = Field(
        8 << 20, description="bytes of a task that are published and not acknowledged yet"
    )
    sink_bucket: _Bucket = Field(
        "nats_spark_sink", description="exactly-once: key-value bucket of the tasks' records"
    )

    # Taken from the Scala connectors, where they tuned what does not exist here.
    datetime_format: str | None = Field(None, description="no effect: timestamp is a timestamp")
    flush_wait_millis: Duration | None = Field(None, description="no effect: acks are awaited")
    connection_outgoingqueue_maxmessages: Count | None = Field(
        None, description="no effect: publishes are bounded in bytes"
    )
    pull_batcher_initial_delay: str | None = Field(None, description="no effect: no batcher")
    pull_batcher_frequency_secs: str | None = Field(None, description="no effect: no batcher")

    @classmethod
    def from_options(cls, options: Mapping[str, str], *, flavor: str | None = None) -> NatsSettings:
        """Settings out of a reader's or writer's options and the layers beneath them.

        Args:
            options: as Spark hands them over; what does not begin with ``nats.`` is left alone.
            flavor: the flavor that asks, which decides a default.

        Raises ``OptionError`` that names the option, its value and what is allowed.
        """
        fields = cls.model_fields
        layers = [options_layer(options, fields), environment_layer(os.environ, fields)]
        context = next((each.values["context"] for each in layers if "context" in each.values), "")
        if context:
            layers.append(context_layer(context))
        if flavor == "balanced":
            layers.append(Layer({"max_messages_per_trigger": str(_BALANCED_MAX_MESSAGES)}))
        layers = one_identity(layers)
        require_sound(layers)
        token = _LAYERS.set(layers)
        try:
            settings = cls()
        except ValidationError as error:
            raise OptionError(_words(error, layers)) from None
        finally:
            _LAYERS.reset(token)
        settings._check_files()
        return settings._with_files() if settings.files_ship else settings

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        layers = (_LayerSource(settings_cls, layer) for layer in _LAYERS.get())
        return (init_settings, *layers)

    @property
    def tasks(self) -> int:
        """Tasks of a batch: ``nats.partitions``, or the cores of this machine."""
        return self.partitions or os.cpu_count() or 1

    def connection_key(self) -> str:
        """The same for settings that reach the same servers as the same user; tells no secret."""
        parts = []
        for name in _CONNECTION_FIELDS:
            value = getattr(self, name)
            parts.append(value.get_secret_value() if isinstance(value, SecretStr) else str(value))
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    @model_validator(mode="after")
    def _check_together(self) -> NatsSettings:
        if self.stream_name and self.stream_pattern:
            raise ValueError("nats.stream.name and nats.stream.pattern exclude each other")
        for name, text in _FILE_FIELDS.items():
            if getattr(self, name) and getattr(self, text) and name not in IDENTITY:
                raise ValueError(
                    f"{field_option(name)} and {field_option(text)} mean the same: set one of them"
                )
        if bool(self.tls_cert or self.tls_cert_pem) != bool(self.tls_key or self.tls_key_secret):
            raise ValueError(
                "nats.tls.cert and nats.tls.key (or nats.tls.cert.pem and nats.tls.key.secret) "
                "belong together: set both"
            )
        identities = [
            option
            for option, given in {
                "nats.user": self.user,
                "nats.token": self.token,
                "nats.nkey.seed.secret": self.nkey_seed_secret,
                "nats.nkey.seed.file": self.nkey_seed_file,
                "nats.credential.file": self.credential_file,
                "nats.credential.secret": self.credential_secret,
            }.items()
            if given
        ]
        if len(identities) > 1:
            raise ValueError(f"{' and '.join(identities)} exclude each other: set one of them")
        if self.password and not self.user:
            raise ValueError("nats.password is set without nats.user")
        if self.sink_atomic and self.sink_mode == "best-effort":
            raise ValueError(
                "nats.sink.atomic needs acks, which nats.sink.mode=best-effort does without: "
                "use at-least-once or exactly-once"
            )
        most, least = self.max_messages_per_trigger, self.min_messages_per_trigger
        if most is not None and least > most:
            raise ValueError(
                f"nats.min.messages.per.trigger={least} is more than "
                f"nats.max.messages.per.trigger={most}"
            )
        return self

    def _with_files(self) -> NatsSettings:
        """The same with what stands in the files, which executors need not have then."""
        found: dict[str, Any] = {}
        for name, text in _FILE_FIELDS.items():
            path = getattr(self, name)
            if path:
                content = read_text(path, field_option(name))
                secret = text.endswith("secret")
                found |= {name: None, text: SecretStr(content) if secret else content}
        return self.model_copy(update=found)

    def _check_files(self) -> None:
        for name in _FILE_FIELDS:
            path = getattr(self, name)
            if path and not Path(path).is_file():
                raise OptionError(
                    f"{field_option(name)}={path}: there is no such file on this machine: "
                    "name one, or leave it out"
                )


class _LayerSource(PydanticBaseSettingsSource):
    """One `Layer` as a source of pydantic-settings."""

    def __init__(self, settings_cls: type[BaseSettings], layer: Layer) -> None:
        super().__init__(settings_cls)
        self._layer = layer

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return self._layer.values.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        return dict(self._layer.values)


_LAYERS: ContextVar[list[Layer]] = ContextVar("_LAYERS", default=[])  # noqa: B039


def read_text(path: str, option: str) -> str:
    """What stands in a file of keys. Raises ``AuthError`` that names the option."""
    try:
        return Path(path).read_text()
    except OSError as error:
        raise AuthError(f"{option}={path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise AuthError(f"{option}={path} is not a text file ({error.reason})") from error


def _words(error: ValidationError, layers: list[Layer]) -> str:
    """The first validation error, in the user's terms."""
    first = error.errors(include_url=False)[0]
    words = first["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if not first["loc"]:
        return words
    name = str(first["loc"][0])
    if first["type"] == "value_error" and words.startswith("nats."):
        return words
    for layer in layers:
        if name in layer.values:
            secret = "SecretStr" in str(NatsSettings.model_fields[name].annotation)
            shown = "(secret)" if secret else repr(layer.values[name])
            return f"{layer.origins.get(name, name)}={shown}: expected {_expected(first, words)}"
    return f"{field_option(name)}: {words}"


def _expected(first: Any, words: str) -> str:
    return first.get("ctx", {}).get("expected") or words[:1].lower() + words[1:]
