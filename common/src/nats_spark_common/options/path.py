"""The argument of ``load``, ``save`` and ``start``, which Spark passes as the option ``path``."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import OptionError
from .catalog_tables import TABLES
from .names import field_option, given
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
        if named in (path, (path,)) or (tables and "/" in path):
            return options
        raise OptionError(
            f"{call}({path!r}) and {option} name different streams: use only one of them"
        )
    if "/" in path:
        hint = f". {TABLES}" if tables else f": use the name of a stream, or remove {path!r}"
        raise OptionError(f"{call}({path!r}): a stream's name cannot contain a slash{hint}")
    return {**options, option: path}
