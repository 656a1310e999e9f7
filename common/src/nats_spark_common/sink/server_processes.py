"""The ids of server processes, which show whether a stream's leader has restarted.

A server keeps the ids of a stream's duplicate window in memory. After a restart it restores them
from stored messages, so the ids of messages that were consumed, deleted or overwritten are lost.
Each server process has a unique id, which it reports to users of any account.

Source: NATS docs, "Monitoring" (account ``CONNZ`` over ``$SYS.REQ.ACCOUNT.PING``).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable

from ..connection.connection import Connection
from ..connection.pool import connection
from ..errors import NatsSparkError, TimeoutExpiredError
from ..jetstream.api import string, well_formed
from ..options.settings import NatsSettings
from ..protocol.json_object import json_object
from ..protocol.operations import Msg, header_status, parse

_log = logging.getLogger(__name__)

_PING = "$SYS.REQ.ACCOUNT.PING.CONNZ"
#: How long to wait for the first reply, and after each reply for the next, in seconds.
_FIRST_ANSWER, _NEXT_ANSWER = 1.0, 0.2


def process_ids(settings: NatsSettings, servers: Iterable[str]) -> dict[str, str]:
    """Return the ids of the servers' current processes, by server name.

    A server that is down, or behind a leaf node, is missing. All are missing if the user may not
    publish the request.
    """
    wanted = set(servers)
    try:
        with connection(settings) as link:
            return _collect(link, wanted) if wanted else {}
    except (NatsSparkError, ValueError, LookupError) as error:
        _log.info("requesting ids of servers %s failed: %s", ", ".join(sorted(wanted)), error)
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
                    reply = json_object(event.payload) or {}
                    with well_formed("reply of a server", reply):
                        server = reply["server"]
                        found[string(server["name"])] = string(server["id"])
                    deadline = time.monotonic() + _NEXT_ANSWER
                elif event.subject == inbox:  # no responders
                    return {}
    except TimeoutExpiredError as error:
        missing = ", ".join(sorted(wanted - found.keys()))
        _log.info("servers %s did not report their ids: %s", missing, error)
    link.busy = False
    return {name: found[name] for name in wanted & found.keys()}
