"""Options that are mutually exclusive, or that require one another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .files import TEXT_FIELDS
from .layers import IDENTITY, Layer, Parse
from .names import field_option

if TYPE_CHECKING:
    from .settings import NatsSettings


def _both(one: Any, other: Any) -> bool:
    return bool(one) and bool(other)


@dataclass(frozen=True)
class Rivals:
    """Two settings of which some values exclude each other.

    Attributes:
        one, other: the names of the fields.
        contradict: whether a value of ``one`` and a value of ``other`` exclude each other.
        message: the error; ``{one}`` and ``{other}`` stand for the values.
    """

    one: str
    other: str
    contradict: Callable[[Any, Any], bool] = _both
    message: str = ""

    def clash(self, values: Mapping[str, Any]) -> bool:
        """Return whether the values of the two fields exclude each other."""
        return bool(self.contradict(values[self.one], values[self.other]))

    def error(self, values: Mapping[str, Any]) -> str:
        """Return the message about values that exclude each other."""
        if self.message:
            return self.message.format(one=values[self.one], other=values[self.other])
        one, other = field_option(self.one), field_option(self.other)
        return f"{one} and {other} are mutually exclusive: set one of them"


RIVALS = (
    Rivals("stream_name", "stream_pattern"),
    *(Rivals(name, text) for name, text in TEXT_FIELDS.items() if name not in IDENTITY),
    Rivals(
        "sink_atomic",
        "sink_mode",
        lambda atomic, mode: atomic and mode == "best-effort",
        "nats.sink.atomic needs acks, and nats.sink.mode=best-effort has none: use at-least-once "
        "or exactly-once",
    ),
    Rivals(
        "ack_none",
        "ack_policy",
        lambda none, policy: none and policy == "all",
        "nats.ack.none and nats.ack.policy=all are mutually exclusive: set one of them",
    ),
    Rivals(
        "min_messages_per_trigger",
        "max_messages_per_trigger",
        lambda least, most: most is not None and least > most,
        "nats.min.messages.per.trigger={one} is greater than nats.max.messages.per.trigger={other}",
    ),
)


def without_rivals(layers: list[Layer], parse: Parse) -> list[Layer]:
    """Remove from each layer the settings that a layer before it contradicts.

    Contradictions within a layer are left, for `check_together` to report.
    """
    before: dict[str, str] = {}
    result = []
    for layer in layers:
        lost = set()
        for rivals in RIVALS:
            for winner, loser in ((rivals.one, rivals.other), (rivals.other, rivals.one)):
                if winner not in before or loser in before or loser not in layer.values:
                    continue
                found = {winner: before[winner], loser: layer.values[loser]}
                try:
                    values = {name: parse(name, text) for name, text in found.items()}
                except ValueError:
                    continue  # an error of its own
                if rivals.clash(values):
                    lost.add(loser)
        kept = layer.without(lost)
        before = {**kept.values, **before}
        result.append(kept)
    return result


def check_together(settings: NatsSettings) -> None:
    """Raise ``ValueError``, for pydantic to report, if two settings contradict each other."""
    for rivals in RIVALS:
        values = {name: getattr(settings, name) for name in (rivals.one, rivals.other)}
        if rivals.clash(values):
            raise ValueError(rivals.error(values))
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
