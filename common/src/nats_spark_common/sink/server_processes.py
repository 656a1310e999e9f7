"""Which server processes hold a stream: a process that restarts forgets message ids.

A server keeps the ids of a stream's duplicate window in memory. After a restart it takes them from
the messages that are still stored, so the id of a message that was consumed, deleted or overwritten
is lost. A process has an id of its own, which every server of a cluster tells its users.

Source: NATS docs, "Monitoring" (account ``CONNZ`` over ``$SYS.REQ.ACCOUNT.PING``).
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable

from ..connection.connection import Connection
from ..connection.pool import connection
from ..errors import NatsSparkError, TimeoutExpiredError
from ..options.settings import NatsSettings
from ..protocol.operations import Msg, header_status, parse

_log = logging.getLogger(__name__)

_PING = "$SYS.REQ.ACCOUNT.PING.CONNZ"
#: Seconds for the first server to answer, and after each for the next: the far ones may be away.
_FIRST_ANSWER, _NEXT_ANSWER = 1.0, 0.2


def process_ids(settings: NatsSettings, servers: Iterable[str]) -> dict[str, str]:
    """The ids of the servers' present processes, by the servers' names.

    A server that is away, or beyond a leaf node, is missing, and so are all if the user may not
    ask.
    """
    wanted = set(servers)
    try:
        with connection(settings) as link:
            return _collect(link, wanted) if wanted else {}
    except (NatsSparkError, ValueError, LookupError) as error:
        _log.info("servers %s do not tell their ids: %s", ", ".join(sorted(wanted)), error)
        return {}


def _collect(link: Connection, wanted: set[str]) -> dict[str, str]:
    link.busy = True
    inbox = link.send_request(_PING, b'{"limit":1}').encode()
    found: dict[str, str] = {}
    deadline = time.monotonic() + _FIRST_ANSWER
    try:
        while not wanted <= found.keys():
            events, consumed = parse(link.arrived(deadline, _PING))
            link.consume(consumed)
            for event in events:
                if not isinstance(event, Msg):
                    link.handle(event)
                elif event.subject == inbox and not header_status(event.header)[0]:
                    server = json.loads(event.payload)["server"]
                    found[server["name"]] = server["id"]
                    deadline = time.monotonic() + _NEXT_ANSWER
                elif event.subject == inbox:  # no responders
                    return {}
    except TimeoutExpiredError as error:
        _log.info("servers %s: %s", ", ".join(sorted(wanted - found.keys())), error)
    link.busy = False
    return {name: found[name] for name in wanted & found.keys()}
