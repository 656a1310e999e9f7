"""The cheaper way to read a stream: direct get batches, or an ordered consumer. Pure.

A consumer must be created; after that, each of its messages costs the server and the decoder less.
``make bench-ways`` measures both. Time of a consumer relative to direct gets, server 2.15.1, one
server and a cluster of three on two cores:

=======  =========  =========  =========  ==========  ==========  ===========
 size    300        1,000      3,000      10,000      30,000      100,000
=======  =========  =========  =========  ==========  ==========  ===========
   50 B  1.23 3.43  1.05 2.36  0.81 1.56  0.87 0.85   0.85 1.12   0.89 0.84
  200 B  1.17 2.59  1.04 2.26  0.95 1.57  0.75 0.93   0.80 0.83   0.91 0.92
  1 KiB  1.08 2.64  0.97 1.69  0.95 1.33  0.97 0.78   0.89 0.84   0.98 0.82
  4 KiB  0.92 1.35  0.85 1.15  0.86 0.96  0.87 0.88   0.93 0.87
=======  =========  =========  =========  ==========  ==========  ===========
"""

from __future__ import annotations

from ..errors import OptionError
from ..jetstream.api import DIRECT_BATCH_VERSION, FILTER_SUBJECTS_VERSION, StreamInfo
from ..options.settings import NatsSettings
from .ranges import NEVER, StreamRange

#: Length of the shortest range that is read through a consumer, on a single server ...
CONSUMER_FROM = 3_000
#: ... and in a cluster. It is cheaper from 10,000 on; but creating it is work for the leader of the
#: whole cluster, so it must be worth it.
CONSUMER_FROM_IN_CLUSTER = 50_000


#: Length of the shortest range whose filters a task may apply itself: below, counting the messages
#: that match costs more than it saves.
FILTERED_FROM = 20_000

#: Share of a stream's messages that filters must match for a task to read all of them and apply
#: the filters itself: of one filter, and of several, which cost the server more. Seconds to read
#: 500,000 messages of 200 B (server 2.15.1, one task), filtered by the server and here: one filter
#: for all 2.7 and 1.3, for half 1.2 and 1.3; two for all 5.7 and 1.2, for half 6.0 and 1.0; 25 for
#: a quarter 2.3 and 1.1, 10 for a tenth 1.0 and 1.1. Reading here moves more bytes.
_SHARE_OF_ONE, _SHARE_OF_SEVERAL = 0.6, 0.3


def least_share(filters: tuple[str, ...]) -> float:
    """Return the share of messages from which reading everything is cheaper than filters."""
    return _SHARE_OF_ONE if len(filters) == 1 else _SHARE_OF_SEVERAL


def may_read_whole(
    settings: NatsSettings,
    info: StreamInfo,
    filters: tuple[str, ...],
    server_version: tuple[int, ...],
) -> bool:
    """Return whether tasks may apply the filters themselves, if these match enough messages.

    Counting what they match takes a consumer, which affects what an interest stream keeps.
    """
    return (
        bool(filters)
        and settings.read_via == "auto"
        and info.retention == "limits"
        and server_version >= FILTER_SUBJECTS_VERSION
    )


def choose(
    settings: NatsSettings,
    info: StreamInfo,
    filters: tuple[str, ...],
    server_version: tuple[int, ...],
) -> tuple[bool, int]:
    """Return `StreamRange.direct` and `StreamRange.consumer_from` for ranges of a stream.

    Raises ``OptionError`` if ``nats.read.via`` is ``direct`` and direct gets cannot read it.
    """
    direct = info.reads_direct(server_version) and len(filters) <= 1
    if settings.read_via == "direct" and not direct:
        raise OptionError(_not_direct(info, filters, server_version))
    return direct, consumer_from(settings, info)


def plan_range(
    settings: NatsSettings,
    info: StreamInfo,
    first: int,
    last: int,
    filters: tuple[str, ...],
    server_version: tuple[int, ...],
) -> StreamRange:
    """Return a range of a stream, with the way to read it. Raises as `choose`."""
    chosen = choose(settings, info, filters, server_version)
    return StreamRange(info.name, info.created, first, last, filters, *chosen, info.average_size)


def consumer_from(settings: NatsSettings, info: StreamInfo) -> int:
    """Return `StreamRange.consumer_from` for ranges of a stream."""
    if info.retention == "workqueue":  # which allows no other consumer
        return NEVER
    if settings.read_via == "consumer":
        return 0
    # A consumer of an interest stream affects what the stream keeps.
    if settings.read_via == "direct" or info.retention != "limits":
        return NEVER
    return CONSUMER_FROM_IN_CLUSTER if info.clustered else CONSUMER_FROM


def _not_direct(info: StreamInfo, filters: tuple[str, ...], server_version: tuple[int, ...]) -> str:
    stream = f"nats.read.via=direct: stream {info.name!r}"
    if not info.allow_direct:
        return f"{stream} has allow_direct off: turn it on, or use nats.read.via=auto"
    if server_version < DIRECT_BATCH_VERSION:
        version, needed = (".".join(map(str, v)) for v in (server_version, DIRECT_BATCH_VERSION))
        return (
            f"{stream} is on server {version}, and direct get batches need {needed}: upgrade the "
            "server, or use nats.read.via=auto"
        )
    return (
        f"{stream} is read with {len(filters)} filter subjects, and a direct get has one: use "
        "nats.read.via=auto"
    )
