"""The names of options: our own, those of the Scala connectors, and those of the environment.

Names are case-insensitive, and ``-`` equals ``.``: Spark lower-cases option names, and the Scala
connectors spell some of theirs both ways.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping

from pydantic.fields import FieldInfo

from ..errors import OptionError
from .java_variables import TO_PEM
from .layers import Layer, Parse
from .server_urls import split_credentials
from .types import parse_field

PREFIX = "nats."


def canonical(name: str) -> str:
    """Return the spelling under which a name is looked up."""
    return name.lower().replace("-", ".")


def _unit(suffix: str) -> Callable[[str], str]:
    def convert(text: str) -> str:
        return text + suffix if text.strip().replace(".", "", 1).isdigit() else text

    return convert


def _as_is(text: str) -> str:
    return text


_seconds, _millis, _minutes = _unit("s"), _unit("ms"), _unit("m")

#: Aliases of options, mostly of the Scala connectors: the field, and the conversion of the text.
ALIASES: dict[str, tuple[str, Callable[[str], str]]] = {
    "nats.pull.subscription.stream.name": ("stream_name", _as_is),
    "nats.pull.subscription.durable.name": ("durable_name", _as_is),
    "nats.pull.consumer.create": ("js_define_consumer", _as_is),
    "nats.pull.consumer.ack.wait": ("msg_ack_wait_secs", _seconds),
    "nats.pull.batch.size": ("msg_fetch_batch_size", _as_is),
    "nats.pull.wait.time": ("msg_receive_wait_millis", _seconds),
    "nats.stream.subject": ("sink_subject", _as_is),
    "nats.msg.ack.wait.secs": ("msg_ack_wait_secs", _seconds),
    "nats.msg.receive.wait.millis": ("msg_receive_wait_millis", _millis),
    "nats.flush.wait.millis": ("flush_wait_millis", _millis),
    "nats.idle.timeout.minutes": ("idle_timeout_minutes", _minutes),
    "nats.storage.payload.compression": ("payload_compression", _as_is),
    "nats.connection.user.name": ("user", _as_is),
    "nats.connection.user.password": ("password", _as_is),
    "nats.connection.timeout": ("connect_timeout", _seconds),
    "nats.ping.interval.secs": ("ping_interval", _seconds),
    "nats.reconnect.wait.secs": ("reconnect_wait", _seconds),
    "nats.source.js.api.prefix": ("js_api_prefix", _as_is),
    "nats.sink.js.api.prefix": ("js_api_prefix", _as_is),
}

#: Aliases that exist only in the environment: those of the nats CLI.
ENVIRONMENT_ALIASES = {
    "nats.creds": "credential_file",
    "nats.nkey": "nkey_seed_file",
    "nats.ca": "tls_ca",
    "nats.cert": "tls_cert",
    "nats.key": "tls_key",
}

_TO_PEM = f"is a Java key store, which Python cannot read: convert it with {TO_PEM}, and set {{}}"
_TRUST = _TO_PEM.format("nats.tls.ca")
_KEY = _TO_PEM.format("nats.tls.cert and nats.tls.key")

#: Options of the Scala connectors that need the JVM, each with the fix.
JVM_ONLY = {
    "nats.trust.store.path": _TRUST,
    "nats.trust.store.password": _TRUST,
    "nats.key.store.path": _KEY,
    "nats.key.store.password": _KEY,
    "nats.tls.algorithm": "names a Java SSL context: remove it; TLS is negotiated",
    "nats.ssl.context.factory.class": (
        "names a Java class: remove it, and set nats.tls.ca, nats.tls.cert and nats.tls.key"
    ),
}


def parser(fields: Mapping[str, FieldInfo]) -> Parse:
    """Return the function that parses the texts of these fields."""

    def parse(name: str, text: str) -> object:
        return parse_field(fields[name], text) if name in fields else text

    return parse


def options_layer(options: Mapping[str, str], fields: Mapping[str, FieldInfo]) -> Layer:
    """Return the layer of a reader's or writer's options.

    Raises ``OptionError`` for an unknown ``nats.`` option.
    """
    layer = Layer(parse=parser(fields))
    known = {field_option(name): name for name in fields}
    for key, value in options.items():
        option = canonical(key)
        if not option.startswith(PREFIX):
            continue  # Spark's own, such as path and checkpointLocation
        if option in JVM_ONLY:
            raise OptionError(f"{key} {JVM_ONLY[option]}")
        if option in ("nats.host", "nats.port"):
            layer.put(option[5:], value, key)
        elif option in ALIASES:
            name, convert = ALIASES[option]
            layer.put(name, convert(value), key)
        elif option in known:
            layer.put(known[option], value, key)
        else:
            raise OptionError(f"{key} is not an option{_suggestion(option, known)}")
    return with_url(layer)


def given(options: Mapping[str, str], name: str) -> bool:
    """Return whether the options set a field, under any of its names."""
    names = {field_option(name), *(alias for alias, (field, _) in ALIASES.items() if field == name)}
    return any(canonical(key) in names for key in options)


def environment_layer(environ: Mapping[str, str], fields: Mapping[str, FieldInfo]) -> Layer:
    """Return the layer of the ``NATS_…`` variables that name an option; others are ignored."""
    layer = Layer(parse=parser(fields))
    known = {field_option(name): name for name in fields}
    for key, value in environ.items():
        option = key.lower().replace("_", ".")
        if not value or not option.startswith(PREFIX):
            continue
        origin = f"environment variable {key}"
        if option == "nats.port" and "://" in value:
            continue  # Kubernetes sets it in every pod if a service is named nats
        if option in ("nats.host", "nats.port"):
            layer.put(option[5:], value, origin)
        elif option in ENVIRONMENT_ALIASES:
            layer.put(ENVIRONMENT_ALIASES[option], value, origin)
        elif option in ALIASES:
            name, convert = ALIASES[option]
            layer.put(name, convert(value), origin)
        elif option in known:
            layer.put(known[option], value, origin)
    return with_url(layer)


def field_option(name: str) -> str:
    """Return the option of a field: ``nats.retry.count`` for ``retry_count``."""
    return PREFIX + name.replace("_", ".")


def _suggestion(option: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(option, [*known, *ALIASES, "nats.host", "nats.port"], 1, 0.6)
    return f": did you mean {near[0]}?" if near else ": see the table of options in the README"


def with_url(layer: Layer) -> Layer:
    """Replace ``host`` and ``port`` by ``url``, and move credentials in URLs to their fields."""
    host, port = layer.values.pop("host", None), layer.values.pop("port", None)
    if host or port:
        origin = layer.origins.get("host") or layer.origins["port"]
        problem = None
        if "url" in layer.values:
            problem = f"{origin} and {layer.origins['url']} are mutually exclusive: set one of them"
        elif port and not port.strip().isdigit():
            problem = (
                f"{layer.origins['port']}={port!r} is not a port: use a number from 1 to 65535"
            )
        hosts = [each.strip() for each in (host or "localhost").split(",")]
        urls = [each if "://" in each else f"nats://{each}:{port or 4222}" for each in hosts]
        layer.put("url", ",".join(urls), origin)
        if problem:
            layer.problems["url"] = problem
    if "url" not in layer.values:
        return layer
    origin = layer.origins["url"]
    try:
        layer.values["url"], found = split_credentials(layer.values["url"])
    except ValueError as error:
        layer.problems.setdefault("url", f"{origin}: {error}")
        return layer
    for credentials in found:
        layer.of_url.update(credentials.keys() - layer.values.keys())
        for name, value in credentials.items():
            layer.put(name, value, f"the {name} in {origin}")
    return layer
