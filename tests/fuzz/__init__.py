"""Fuzzing of every parser: bytes of real servers, mutated, against simple reference decoders.

Start with `parsers`: one entry for each parser, its corpus and its oracle. `mutations` changes the
corpus, `reference` decodes as simply as possible, `record` fetches a corpus from real servers.
``make fuzz`` runs all parsers for ``FUZZ_SECONDS``; `test_parsers` runs a short, fixed form.
"""

#: Fixed parts of the recorded bytes.
STREAM = "FUZZ"
INBOX = b"_INBOX.0123456789abcdef012345"
SID = b"0123456789abcdef"
CONSUMER = b"spark_0123456789abcdef012345"
