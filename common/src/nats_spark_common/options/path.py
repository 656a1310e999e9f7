"""The argument of ``load``, ``save`` and ``start``, which Spark passes as the option ``path``."""

from __future__ import annotations

import json
from collections.abc import Mapping

from ..errors import OptionError
from .catalog_tables import TABLES
from .names import field_option, given
from .server_urls import parse_list
from .settings import NatsSettings


def with_path(
    options: Mapping[str, str], call: str, field: str = "stream_name", *, tables: bool = False
) -> Mapping[str, str]:
    """Return the options, with the argument of a call as the name that it stands for.

    Args:
        call: ``load``, ``save`` or ``start``, for errors.
        field: the setting that the argument sets.
        tables: whether the argument may be the location of a catalog table, which names no stream.

    Raises ``OptionError`` if the argument contradicts the option, or cannot be a name.
    """
    path = options.get("path")
    if path is None:
        return options
    option = field_option(field)
    if given(options, field):
        named = getattr(NatsSettings.from_options(options), field)
        if named in (path, parse_list(path)) or (tables and "/" in path):
            return options
        raise OptionError(
            f"{call}({path!r}) and {option} name different streams: use only one of them"
        )
    if "/" in path:
        hint = f". {TABLES}" if tables else f": use the name of a stream, or remove {path!r}"
        raise OptionError(f"{call}({path!r}): a stream's name cannot contain a slash{hint}")
    return {**options, option: path}


def with_joined_paths(options: Mapping[str, str], field: str) -> Mapping[str, str]:
    """Return the options with a list that ``load`` was given as one comma list in ``path``.

    Spark passes a list of two or more names as JSON, in the option ``paths``.

    Raises ``OptionError`` if the argument sets a field that has one value.
    """
    paths = options.get("paths")
    if paths is None or "path" in options:
        return options
    try:
        names = [str(name) for name in json.loads(paths)]
    except (ValueError, TypeError):
        return options  # not of Spark
    if field != "stream_name":
        raise OptionError(
            f"load({names}): the argument is {field_option(field)}, one name: use a DataFrame for "
            "each"
        )
    return {**options, "path": ",".join(names)}
