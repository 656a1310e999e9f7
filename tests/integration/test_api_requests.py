"""How many requests the states of streams cost the server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from nats.aio.msg import Msg

from nats_spark_common.embedded import EmbeddedServer
from nats_spark_common.jetstream.control import Control
from nats_spark_common.options.settings import NatsSettings

from .._support.admin import Admin, wait_until

#: Number of streams in the account, and the number from which they are listed.
ACCOUNT, LIST_FROM = 65, 16
NAMES = [f"S{number}" for number in range(ACCOUNT)]


@pytest.fixture(scope="module")
def admin() -> Iterator[Admin]:
    """On a server of its own, because the number of streams of the account counts."""
    with EmbeddedServer() as server, closing(Admin(server.url)) as admin:
        for name in NAMES:
            admin.create_stream(name, storage="memory")
        yield admin


@pytest.fixture
def control(admin: Admin) -> Iterator[Control]:
    with Control(NatsSettings.from_options({"nats.url": admin.url})) as control:
        yield control


@contextmanager
def requests(admin: Admin) -> Iterator[Counter[str]]:
    """Count the requests to the account's API, by their kind, while the block runs."""
    counted: Counter[str] = Counter()

    async def count(message: Msg) -> None:
        counted[".".join(message.subject.split(".")[2:4])] += 1

    subscription = admin.run(admin.client.subscribe("$JS.API.>", cb=count))
    admin.run(admin.client.flush())
    yield counted
    before = counted["INFO"]
    admin.run(admin.js.account_info())  # the server's messages come in order
    wait_until(lambda: counted["INFO"] > before)
    del counted["INFO"]
    admin.run(subscription.unsubscribe())


def test_few_streams_are_asked_for_singly(admin: Admin, control: Control) -> None:
    wanted = NAMES[: LIST_FROM - 1]
    with requests(admin) as counted:
        assert list(control.stream_infos(wanted)) == wanted
    assert counted == {"STREAM.INFO": LIST_FROM - 1}


def test_many_streams_are_listed(admin: Admin, control: Control) -> None:
    wanted = NAMES[: ACCOUNT // 2]
    for _ in range(2):
        with requests(admin) as counted:
            assert list(control.stream_infos(wanted)) == wanted
        assert counted == {"STREAM.LIST": 1}


def test_a_large_account_is_not_listed_a_second_time_for_a_small_part_of_it(
    admin: Admin, control: Control
) -> None:
    wanted = NAMES[:LIST_FROM]
    with requests(admin) as counted:
        control.stream_infos(wanted)
    assert counted == {"STREAM.LIST": 1}
    with requests(admin) as counted:
        assert list(control.stream_infos(wanted)) == wanted
    assert counted == {"STREAM.INFO": LIST_FROM}


def test_an_account_that_a_pattern_has_shown_to_be_large_is_never_listed_for_a_small_part(
    admin: Admin, control: Control
) -> None:
    wanted = control.stream_names("S[0-9]") + control.stream_names("S1[0-5]")
    assert len(wanted) == LIST_FROM
    with requests(admin) as counted:
        control.stream_infos(wanted)
    assert counted == {"STREAM.INFO": LIST_FROM}


def test_a_stream_that_the_list_lacks_is_asked_for_singly(admin: Admin, control: Control) -> None:
    wanted = [*NAMES[: ACCOUNT // 2], "MISSING"]
    with requests(admin) as counted:
        assert list(control.stream_infos(wanted)) == wanted[:-1]
    assert counted == {"STREAM.LIST": 1, "STREAM.INFO": 1}
