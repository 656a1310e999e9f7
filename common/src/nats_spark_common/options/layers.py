"""Layers of settings, one for each origin, and how they are merged. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import OptionError

#: Returns what the text of a field means. Raises ``ValueError`` if it has no meaning.
Parse = Callable[[str, str], Any]

#: The fields that identify the user.
IDENTITY = (
    "user",
    "password",
    "token",
    "nkey_seed_secret",
    "nkey_seed_file",
    "credential_file",
    "credential_secret",
)


def as_text(name: str, text: str) -> str:
    """Return the text of a field as it is."""
    return text


@dataclass(frozen=True)
class Layer:
    """The settings of one origin, before validation.

    Attributes:
        values: texts by field name.
        origins: the name that the user gave each setting, for error messages.
        problems: errors by field name; they are raised only if the layer's value is used.
        of_url: the fields whose values came from credentials in the layer's ``url``.
        parse: what the texts mean, to compare them.
    """

    values: dict[str, str] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    of_url: set[str] = field(default_factory=set)
    parse: Parse = as_text

    def put(self, name: str, value: str, origin: str) -> None:
        """Add a setting. If it was added before with a different value, record a problem."""
        if not self._same(name, self.values.get(name, value), value):
            self.problems[name] = (
                f"{origin} and {self.origins[name]} are the same option and differ: set one of them"
            )
        self.values[name] = value
        self.origins[name] = origin

    def without(self, names: Collection[str]) -> Layer:
        """Return the layer without the named fields."""

        def rest(of: Mapping[str, str]) -> dict[str, str]:
            return {name: value for name, value in of.items() if name not in names}

        return replace(
            self,
            values=rest(self.values),
            origins=rest(self.origins),
            problems=rest(self.problems),
        )

    def _same(self, name: str, one: str, other: str) -> bool:
        """Return whether two texts of a field mean the same, as ``10`` and ``10s`` may."""
        try:
            return one == other or bool(self.parse(name, one) == self.parse(name, other))
        except ValueError:
            return False


def one_identity(layers: list[Layer]) -> list[Layer]:
    """Remove credentials from all layers but the first that has any, so that none are mixed.

    Credentials in a URL count only if the URL is used, because they are meant for that server. A
    user without a password takes the password of a lower layer if that layer has no other
    credentials, or names the same user.
    """
    settled: Layer | None = None
    url_found = False
    result = []
    for original in layers:
        layer = original.without(original.of_url) if url_found else original
        given = [name for name in IDENTITY if name in layer.values]
        if settled is None and given:
            settled = layer
            if given == ["password"]:
                layer.problems["password"] = _lone_password(layer, layers)
        elif settled is not None and given:
            completes = "password" in given and _completes(layer, settled)
            layer = layer.without([name for name in given if name != "password" or not completes])
        url_found = url_found or "url" in layer.values
        result.append(layer)
    return result


def _lone_password(layer: Layer, layers: list[Layer]) -> str:
    """Return the message about a layer that has a password and no user."""
    users = [each.origins["user"] for each in layers if "user" in each.values]
    elsewhere = f" ({users[0]} is in another layer)" if users else ""
    return (
        f"{layer.origins['password']} is set without nats.user in the same layer{elsewhere}: set "
        "both in the options, both in the environment or both in the context, or neither"
    )


def _completes(layer: Layer, settled: Layer) -> bool:
    """Return whether a layer has the password for the user that ``settled`` names without one."""
    if "user" not in settled.values or "password" in settled.values:
        return False
    others = [
        name for name in IDENTITY if name in layer.values and name not in ("user", "password")
    ]
    return not others and layer.values.get("user") in (None, settled.values["user"])


def merge(layers: list[Layer]) -> Layer:
    """Return one layer that has, for each setting, the value of the first layer that has one.

    Raises ``OptionError`` for a problem of a value that wins; other values may be wrong.
    """
    merged = Layer()
    for layer in layers:
        for name, value in layer.values.items():
            if name in merged.values:
                continue
            if name in layer.problems:
                raise OptionError(layer.problems[name])
            merged.values[name] = value
            merged.origins[name] = layer.origins.get(name, name)
    return merged
