"""A stream of nasty messages: everything that a stream may hold and a reader may trip over."""

from __future__ import annotations

from .._support.admin import Admin

LARGEST = 1 << 20  # a server's max_payload by default, headers included

PAYLOADS = {
    "empty": b"",
    "line-end": b"\r\n",
    "not-utf8": bytes(range(256)),
    "nul": b"\0" * 100,
    "a-frame": b"\r\nHMSG _INBOX.x 1 12 12\r\nNATS/1.0 204 EOB\r\n\r\n\r\n",
    "a-refusal": b"PING\r\n-ERR 'no'\r\n+ACK",
    "large": b"0123456789abcdef" * 8_000,
    "largest": b"z" * LARGEST,
}

#: Header blocks as publishers send them, which no dictionary expresses.
HEADERS = {
    "none": b"NATS/1.0\r\n\r\n",
    "repeated": b"NATS/1.0\r\nKey: one\r\nkey: two\r\nKey: three\r\n\r\n",
    "empty-value": b"NATS/1.0\r\nKey:\r\nOther: \r\n\r\n",
    "blanks": b"NATS/1.0\r\nKey:   padded   \r\n\r\n",
    "colons": b"NATS/1.0\r\nKey: a:b: c\r\n\r\n",
    "unicode": "NATS/1.0\r\nGruß: Grüße aus 東京\r\n\r\n".encode(),
    "not-utf8": b"NATS/1.0\r\nKey: \xff\xfe\r\n\r\n",
    "the-servers-own": b"NATS/1.0\r\nNats-Sequence: 7\r\nNats-Subject: other\r\n"
    b"Nats-Stream: other\r\nNats-Time-Stamp: 1999-01-01T00:00:00Z\r\nNats-Num-Pending: 0\r\n\r\n",
    "a-status": b"NATS/1.0 503 No Responders\r\nKey: value\r\n\r\n",
    "end-of-batch": b"NATS/1.0 204 EOB\r\n\r\n",
    "many": b"NATS/1.0\r\n" + b"".join(b"K%d: %d\r\n" % (i, i) for i in range(300)) + b"\r\n",
}

SUBJECTS = [
    "ascii.lower",
    "with-dash.with_underscore",
    "ünïcødé.主题",
    "emoji.🚀",
    "e\u0301.combining",
    "$dollar.x",
    "deep." + ".".join("abcdefghij" * 6),
    "long." + "x" * 400,
]


def fill(admin: Admin, prefix: str) -> None:
    """Store the corpus under ``<prefix>.>``, and remove some of it again."""
    admin.publish_many((f"{prefix}.gone.{i}", b"gone") for i in range(5))
    for name, payload in PAYLOADS.items():
        admin.publish(f"{prefix}.payload.{name}", payload)
    for name, header in HEADERS.items():
        admin.publish_raw(f"{prefix}.header.{name}", header, name.encode())
        admin.publish_raw(f"{prefix}.header.{name}", header, b"")
    for subject in SUBJECTS:
        admin.publish(f"{prefix}.subject.{subject}", subject.encode())
        admin.publish(f"{prefix}.subject.{subject}", subject.encode(), {"Nats-Msg-Id": subject})
    admin.publish_many((f"{prefix}.plain.{i % 7}", str(i).encode()) for i in range(500))
    last = admin.info(prefix).state.last_seq
    for seq in (last - 400, last - 399, last - 398, last - 250, last):
        admin.delete_message(prefix, seq)
    admin.purge(prefix, subject=f"{prefix}.plain.3")
    admin.purge(prefix, seq=4)  # the head
