"""How streams share a limit: evenly, so that a backlog in one does not delay the others. Pure.

A batch takes as long as its longest task, and each stream is one task. So even shares are the
fastest as well as the fairest. (V2 splits streams over tasks, so proportional shares cost no time.)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from nats_spark_common.planning.admission import Available


def admit_evenly(
    available: Mapping[str, Available], max_messages: int | None, max_bytes: int | None
) -> dict[str, int]:
    """Return the number of sequences to take of each stream.

    A stream that has less than its share is taken whole, and the others divide the rest of its
    share. A limit of bytes admits at least one sequence of each stream, so a query always makes
    progress. If a limit of messages is below the number of streams, the longest backlogs come
    first.
    """
    offers = {name: each for name, each in available.items() if each.count}
    shares = []
    if max_messages is not None:
        shares.append(_even_share([(each.count, 1) for each in offers.values()], max_messages))
    if max_bytes is not None:
        sizes = [(each.count, each.size) for each in offers.values()]
        shares.append(max(1, _even_share(sizes, max_bytes)))
    share = min(shares, default=None)
    taken = dict.fromkeys(available, 0)
    for name, each in offers.items():
        taken[name] = each.count if share is None else min(each.count, share)
    if max_messages is not None and (max_bytes is None or shares[0] < shares[1]):
        longest = sorted(offers, key=lambda name: (taken[name] - offers[name].count, name))
        left = max(0, max_messages - sum(taken.values()))
        for name in longest[:left]:
            taken[name] += taken[name] < offers[name].count
    return taken


def _even_share(offers: Iterable[tuple[int, float]], limit: int) -> int:
    """Return the maximum sequences per offer (count, weight of each) that fit the limit."""
    left, weights = float(limit), sum(weight for _, weight in offers)
    largest = 0
    for count, weight in sorted(offers):
        if count * weights > left:
            return int(left / weights)
        left -= count * weight
        weights -= weight
        largest = count
    return largest
