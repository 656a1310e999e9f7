"""Pipelined publishes, each of which is acknowledged before the task is done.

Rows travel in flights: pieces of about a megabyte of which the server has not acknowledged every
row yet. A flight is sent in one of two ways. Singly, each row has a reply subject of its own and
gets an ack of its own. As a fast-ingest batch (ADR-50), the server acknowledges the rows up to a
number, hundreds at a time, and stores nothing past a row that it refused or missed.

What is not acknowledged when a connection is lost, or is turned away for the moment, is sent again,
a bounded number of times.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..connection.connection import Connection
from ..connection.pool import connection
from ..connection.retry import LOST, pause
from ..errors import (
    AuthError,
    JetStreamUnavailableError,
    NatsSparkError,
    ProtocolError,
    TimeoutExpiredError,
)
from ..jetstream.api import FAST_BATCH_VERSION, NO_RESPONDERS
from ..options.settings import NatsSettings
from ..protocol.operations import pub
from .encode import encode, numbered_replies
from .in_flight import Flight
from .ledger import Ledger
from .pub_acks import Acks, Reply, parse_acks
from .publish_errors import is_transient, refusal
from .rows import PIECE_BYTES, Rows, check_sizes
from .targets import Targets, no_stream

_log = logging.getLogger(__name__)

#: Bytes handed to the socket at a time; acks are read between.
_SLICE_BYTES = 1 << 18

#: Singly published rows in flight; the server queues up to 10,000 a stream (max_buffered_msgs).
_MOST_SINGLE = 8_000

#: Rows in flight, however overloaded the server is.
_LEAST = 16

#: How often we ask for acks of a fast batch, in messages; the server lowers it as it sees fit.
_FLOW = 500
#: ... and how many of these intervals may be in flight. The official clients wait at two or three.
_INTERVALS = 4

_START, _APPEND, _COMMIT, _PING = 0, 1, 2, 4

#: How long a fast batch may be silent before we ask where it stands, in seconds.
_SILENCE = 0.25


class Publisher:
    """Publishes a task's rows; `publish` returns when they are under way, `finish` when stored.

    Holds connections of the pool; use it in ``with``.
    """

    def __init__(
        self,
        settings: NatsSettings,
        targets: Targets,
        ledger: Ledger | None = None,
    ) -> None:
        """
        Args:
            targets: asked whether there is a stream at all where nobody takes a message.
            ledger: tells which rows are stored before those whose fate is unknown are sent again,
                and whether this attempt of the task may go on; without it, all are sent again.
        """
        self._settings = settings
        self._targets = targets
        self._ledger = ledger
        self._links = ExitStack()
        self._link: Connection | None = None
        self._known_servers: tuple[str, ...] = ()
        self._unsent: deque[tuple[Rows, bool]] = deque()
        self._flights: deque[Flight] = deque()
        self._failures = 0
        self._takes_fast = True
        self._flow = _FLOW
        self._most = _MOST_SINGLE
        self._progress = 0.0
        self._asked = False

    def __enter__(self) -> Publisher:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        if self._link is not None:
            self._link.busy = bool(self._flights) or kind is not None
            if self._link.busy:
                self._link.abort()
        self._links.close()
        self._link = None

    def publish(self, rows: Rows, *, fast: bool = False) -> None:
        """Send the rows as soon as there is room, and collect acks meanwhile.

        Args:
            fast: all rows go to one stream, which takes fast-ingest batches.

        Raises:
            PublishError: a row cannot be published, or the server refuses it.
            AuthError: the user may not publish to a row's subject.
            ConnectError, TimeoutExpiredError, JetStreamUnavailableError: however often it was
                tried.
        """
        # A fast batch is acknowledged at its end at the latest, so it must fit into that bound.
        most_bytes = min(PIECE_BYTES, self._settings.sink_max_in_flight)
        self._unsent += ((piece, fast) for piece in rows.pieces(most_bytes=most_bytes))
        self._work(lambda: True)

    def finish(self) -> None:
        """Wait until every row is stored. Raises as `publish`."""
        self._work(lambda: not self._flights)

    def _work(self, done: Callable[[], bool]) -> None:
        self._progress = time.monotonic()  # the time until we were called is not the server's
        while True:
            try:
                link = self._connected()
                while self._collect(link, wait=False):
                    pass
                while self._unsent:
                    rows, fast = self._unsent[0]
                    check_sizes(rows, link.info.max_payload)
                    self._flights.append(self._prepared(link, rows, fast))
                    self._unsent.popleft()
                    self._send(link, self._flights[-1])
                if done():
                    return
                self._collect(link, wait=True)
            except AuthError:
                raise
            except LOST as error:
                self._recover(error)

    def _connected(self) -> Connection:
        if self._link is None:
            self._link = self._links.enter_context(connection(self._settings, self._known_servers))
            self._link.busy = True
            self._known_servers = self._link.info.connect_urls
        return self._link

    def _prepared(self, link: Connection, rows: Rows, fast: bool) -> Flight:
        fast = fast and self._takes_fast and link.info.version >= FAST_BATCH_VERSION
        count = len(rows)
        if not fast:
            first = link.reserve(count)
            replies = numbered_replies(link.inbox, first, count)
            return Flight(rows, encode(rows, replies), first=first)
        batch = secrets.token_hex(11)
        self._flow = min(_FLOW, max(1, self._most // _INTERVALS))
        operations = np.full(count, _APPEND)
        operations[0], operations[-1] = _START, _COMMIT
        replies = pc.binary_join_element_wise(
            f"{link.inbox}.{batch}.{self._flow}.fail.",
            pa.array(np.arange(1, count + 1)).cast(pa.string()),
            ".",
            pa.array(operations).cast(pa.string()),
            ".$FI ",
            "",
        )
        return Flight(rows, encode(rows, replies), batch=batch, flow=self._flow)

    def _send(self, link: Connection, flight: Flight) -> None:
        offsets = flight.frames.offsets
        while flight.sent < len(flight.rows) and not flight.ended and not flight.stuck:
            room = self._room(flight)
            if room <= 0:
                self._collect(link, wait=True)
                continue
            most = int(offsets[flight.sent]) + _SLICE_BYTES
            stop = int(np.searchsorted(offsets, most, "right")) - 1
            stop = min(max(stop, flight.sent + 1), flight.sent + room, len(flight.rows))
            part = flight.frames.part(flight.sent, stop)
            if self._ledger:
                link.send(part, self._ledger.time_left())
            else:
                link.send(part)
            flight.sent = stop
            self._progress = time.monotonic()
            self._collect(link, wait=False)
        if flight.stuck and not flight.ended:
            self._ping(link)  # ends it, so that what is left can be sent again in order
            while flight in self._flights:
                self._collect(link, wait=True)

    def _room(self, flight: Flight) -> int:
        """How many more rows may be sent now."""
        if sum(each.bytes_in_flight for each in self._flights) >= self._settings.sink_max_in_flight:
            return 0
        sent = self._unsettled()
        if not flight.batch:
            return self._most - sent
        # No ack comes before so many messages as the server counts between two of them.
        return max(min(_INTERVALS * self._flow, self._most), self._flow) - sent

    def _unsettled(self) -> int:
        return sum(each.sent - each.done for each in self._flights)

    def _collect(self, link: Connection, *, wait: bool) -> bool:
        """Take in what the server says; with ``wait``, at least something. Whether it was any."""
        block = self._awaited(link) if wait else link.arrived(None)
        if not block:
            return False
        streams = self._ledger.streams if self._ledger else None
        acks = parse_acks(block, link.inbox, streams)
        link.consume(acks.consumed)
        for event in acks.others:
            link.handle(event)
        self._mark(acks)
        self._asked = False
        for reply in acks.replies:
            try:
                self._reply(reply)
            except (KeyError, ValueError, IndexError, TypeError) as error:
                raise ProtocolError(f"not an answer of JetStream: {reply}") from error
        self._land()
        return acks.consumed > 0

    def _awaited(self, link: Connection) -> bytes:
        """The server's next words; a fast batch that is silent is asked where it stands.

        Raises ``TimeoutExpiredError`` where nothing went ahead for ``nats.request.timeout``.
        """
        what = f"{self._unsettled()} published messages"
        deadline = self._progress + self._settings.request_timeout
        while time.monotonic() < deadline:
            try:
                return link.arrived(min(time.monotonic() + _SILENCE, deadline), what)
            except TimeoutExpiredError:
                self._ping(link)
        raise TimeoutExpiredError(f"no reply from the server in time for {what}")

    def _ping(self, link: Connection) -> None:
        """Ask for the state of the fast batches; the answer also ends one that has a gap."""
        for flight in self._flights:
            if flight.batch and flight.sent:
                subject = flight.rows.subjects[flight.sent - 1].as_py()
                reply = f"{link.inbox}.{flight.batch}.{flight.flow}.fail.{flight.sent}.{_PING}.$FI"
                link.send(pub(subject, reply, b""))

    def _mark(self, acks: Acks) -> None:
        """Note which singly published rows are stored."""
        if not len(acks.numbers):
            return
        numbers = np.sort(acks.numbers)
        for flight in self._flights:
            if flight.batch:
                continue
            low, high = np.searchsorted(numbers, [flight.first, flight.first + len(flight.rows)])
            flight.stored[numbers[low:high] - flight.first] = True
            flight.count_done()
        self._went_ahead()

    def _reply(self, reply: Reply) -> None:
        """An answer that is no plain ack: of a fast batch, or an error."""
        name, _, rest = reply.to.partition(".")
        for flight in self._flights:
            if flight.batch and flight.batch == name:
                if not flight.ended:  # its last rows are answered still, as of an unknown batch
                    self._fast_reply(flight, reply, rest)
                return
            row = int(name) - flight.first if name.isdigit() and not flight.batch else -1
            if 0 <= row < len(flight.rows) and not flight.stored[row]:
                self._turned_away(flight, row, reply)
                flight.count_done()
                return

    def _fast_reply(self, flight: Flight, reply: Reply, rest: str) -> None:
        body = reply.body
        kind = body.get("type")
        if kind == "ack":
            self._flow = max(1, int(body["msgs"]))
            self._reached(flight, int(body["seq"]))
        elif kind == "gap":
            return  # what was stored is told with the end of the batch
        elif "count" in body and "error" not in body:
            flight.ended = True
            self._reached(flight, int(body["count"]))
            self._check_stream(flight, body)
        elif self._refuses_batch(flight, reply):
            flight.ended = True
        else:
            row = int(body.get("seq") or 0) if kind == "err" else int(rest.split(".")[2])
            self._turned_away(flight, max(0, row - 1), reply)

    def _refuses_batch(self, flight: Flight, reply: Reply) -> bool:
        """Whether the batch is refused, not a row; rows are then published singly.

        Raises ``ProtocolError`` where the server does not know the batch any more: its end, and so
        the number of rows that are stored, was lost on the way.
        """
        code = int((reply.body.get("error") or {}).get("err_code") or 0)
        if code == _UNKNOWN_BATCH and 0 in flight.again:
            return True  # it never began
        if code == _UNKNOWN_BATCH:
            raise ProtocolError("the server dropped a batch, and did not say how far it came")
        if code not in _NO_FAST_BATCH:
            return False
        _log.info("publishing singly: %s", reply.body["error"])
        self._takes_fast = False
        flight.declined = True
        return True

    def _reached(self, flight: Flight, count: int) -> None:
        count = min(count, len(flight.rows))
        if count > flight.done:
            flight.done = count
            flight.stored[:count] = True
            self._went_ahead()

    def _went_ahead(self) -> None:
        self._failures = 0
        self._progress = time.monotonic()

    def _check_stream(self, flight: Flight, body: dict[str, object]) -> None:
        if self._ledger and body.get("stream") not in self._ledger.streams:
            raise refusal(flight.rows.subjects[0].as_py(), body)

    def _turned_away(self, flight: Flight, row: int, reply: Reply) -> None:
        """Raise where a row is refused for good; else remember to send it again."""
        subject = flight.rows.subjects[row].as_py()
        if reply.status == NO_RESPONDERS:
            self._require_stream(subject)
        elif not is_transient(reply.body):
            raise refusal(subject, reply.body)
        flight.again.add(row)

    def _require_stream(self, subject: str) -> None:
        """Raise where no stream has the subject; one that has it may be without a leader.

        Asks for one row of all that arrived together. What is sent again and has a stream drops
        out, so the turn comes to a subject without one.
        """
        if self._asked:
            return
        self._asked = True
        try:
            exists = self._targets.exists(subject)
        except NatsSparkError as error:
            _log.info("asking for the stream of %s: %s", subject, error)
            return
        if not exists:
            raise no_stream(subject)

    def _land(self) -> None:
        """Drop flights that are complete; queue what they left to do, in order."""
        landed = [each for each in self._flights if each.complete]
        if not landed:
            return
        self._flights = deque(each for each in self._flights if not each.complete)
        left = [each for each in landed if not each.stored.all()]
        self._unsent.extendleft((each.missing(), bool(each.batch)) for each in reversed(left))
        if all(each.declined for each in left):
            self._most = min(2 * self._most, _MOST_SINGLE)
            return
        # Less may be in flight until the server keeps up.
        self._most = max(self._most // 2, _LEAST)
        rows, _ = self._unsent[0]
        self._fail(
            JetStreamUnavailableError(
                f"{len(rows)} messages, the first to {rows.subjects[0].as_py()!r}, were turned "
                "away: the stream's server is overloaded or has no leader"
            )
        )

    def _require_streams_of_unanswered(self) -> None:
        """Raise for a subject that only plain subscribers have: they take it, and do not answer."""
        for flight in self._flights:
            missing = flight.missing()
            if len(missing):
                self._asked = False
                self._require_stream(missing.subjects[0].as_py())

    def _recover(self, error: NatsSparkError) -> None:
        """After a lost connection: everything that is not acknowledged is to be sent again."""
        if isinstance(error, TimeoutExpiredError):
            self._require_streams_of_unanswered()
        self._fail(error)
        if self._link is not None:
            if isinstance(error, TimeoutExpiredError):
                self._link.give_up()
            self._link.abort()
        self._links.close()
        self._link = None
        lost = [(flight.missing(), bool(flight.batch)) for flight in self._flights]
        if self._ledger and lost:
            begun = min(flight.begun for flight in self._flights)
            standing = self._ledger.look(begun)
            lost = [(self._ledger.without(rows, standing), fast) for rows, fast in lost]
        self._flights.clear()
        self._unsent.extendleft((rows, fast) for rows, fast in reversed(lost) if len(rows))

    def _fail(self, error: NatsSparkError) -> None:
        if self._failures >= self._settings.retry_count:
            raise error
        _log.info("publishing: %s; again", error)
        time.sleep(pause(self._failures))
        self._failures += 1
        self._progress = time.monotonic()


_UNKNOWN_BATCH = 10208
#: Batches are off for the stream, their pattern or id is not understood, too many are in flight.
_NO_FAST_BATCH = (10205, 10206, 10207, 10211)
