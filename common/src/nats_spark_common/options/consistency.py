"""Options that are mutually exclusive, or that require one another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .files import TEXT_FIELDS
from .layers import IDENTITY
from .names import field_option

if TYPE_CHECKING:
    from .settings import NatsSettings


def check_together(settings: NatsSettings) -> None:
    """Raise ``ValueError``, for pydantic to report, if two settings contradict each other."""
    if settings.stream_name and settings.stream_pattern:
        raise ValueError(
            "nats.stream.name and nats.stream.pattern are mutually exclusive: set one of them"
        )
    for name, text in TEXT_FIELDS.items():
        if getattr(settings, name) and getattr(settings, text) and name not in IDENTITY:
            raise ValueError(
                f"{field_option(name)} and {field_option(text)} are mutually exclusive: set one of "
                "them"
            )
    if bool(settings.tls_cert or settings.tls_cert_pem) != bool(
        settings.tls_key or settings.tls_key_secret
    ):
        raise ValueError(
            "only one of nats.tls.cert and nats.tls.key (or nats.tls.cert.pem and "
            "nats.tls.key.secret) is set: set both"
        )
    identities = [
        option
        for option, given in {
            "nats.user": settings.user,
            "nats.token": settings.token,
            "nats.nkey.seed.secret": settings.nkey_seed_secret,
            "nats.nkey.seed.file": settings.nkey_seed_file,
            "nats.credential.file": settings.credential_file,
            "nats.credential.secret": settings.credential_secret,
        }.items()
        if given
    ]
    if len(identities) > 1:
        raise ValueError(f"{' and '.join(identities)} are mutually exclusive: set one of them")
    if settings.password and not settings.user:
        raise ValueError("nats.password is set without nats.user: set both, or neither")
    if settings.sink_atomic and settings.sink_mode == "best-effort":
        raise ValueError(
            "nats.sink.atomic needs acks, and nats.sink.mode=best-effort has none: "
            "use at-least-once or exactly-once"
        )
    if settings.ack_none and settings.ack_policy == "all":
        raise ValueError(
            "nats.ack.none and nats.ack.policy=all are mutually exclusive: set one of them"
        )
    most, least = settings.max_messages_per_trigger, settings.min_messages_per_trigger
    if most is not None and least > most:
        raise ValueError(
            f"nats.min.messages.per.trigger={least} is greater than "
            f"nats.max.messages.per.trigger={most}"
        )
