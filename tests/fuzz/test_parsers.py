"""Every parser, for mutations of recorded bytes: a right result or an error of the suite."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded

from nats_spark_common.errors import NatsSparkError

from .mutations import mutated
from .parsers import PARSERS, Parser, check

#: Examples for each parser: a few seconds in all.
_EXAMPLES = 50

_RECORDED = [
    pytest.param(parser, data, id=f"{parser.name}-{name}")
    for parser in PARSERS
    for name, data in parser.corpus().items()
]


@pytest.fixture
def bounded() -> Iterator[None]:
    """Fail if a test takes long, or much more memory than any test before it."""
    begun, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    taken = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert taken < 300 << 10, f"{taken} KiB more"
    assert time.monotonic() - begun < 60


@pytest.mark.parametrize(("parser", "data"), _RECORDED)
def test_the_corpus(parser: Parser, data: bytes, bounded: None) -> None:
    check(parser, data)


@pytest.mark.parametrize(("parser", "data"), [p for p in _RECORDED if "found_" not in str(p.id)])
def test_recorded_bytes_are_accepted(parser: Parser, data: bytes) -> None:
    """But for replies that report an error, and options that name a file that does not exist."""
    reported = ("not found", "does not exist", "no such file")
    try:
        parser.check(data)
    except NatsSparkError as error:
        if not any(each in str(error) for each in reported):
            raise


@pytest.mark.parametrize("parser", PARSERS, ids=lambda each: each.name)
def test_mutations_of_the_corpus(parser: Parser, bounded: None) -> None:
    run(parser, _EXAMPLES)


def run(parser: Parser, examples: int, seed: int | None = None) -> None:
    """Check mutations of a parser's corpus; raise for the smallest that fails.

    Args:
        seed: of the mutations; the same ones each time without it.
    """

    @settings(
        max_examples=examples,
        derandomize=seed is None,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    @given(data=mutated(list(parser.corpus().values()), parser.text))
    def property_holds(data: bytes) -> None:
        check(parser, data)

    (property_holds if seed is None else seeded(seed)(property_holds))()
