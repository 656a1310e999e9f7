"""The READMEs say what the code does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from nats_spark_common.options.names import JVM_ONLY, canonical
from nats_spark_common.options.reference import options_reference
from nats_spark_common.rows.schema import SCHEMA

from .options.test_names import SCALA

ROOT = Path(__file__).resolve().parents[2]


def test_the_tables_of_options_are_those_of_the_model() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "option-tables"), "--check"]
    assert subprocess.run(command, check=False).returncode == 0


def test_every_option_stands_in_the_common_readme() -> None:
    text = (ROOT / "common" / "README.md").read_text()
    assert [o.name for o in options_reference() if f"`{o.name}`" not in text] == []


def test_every_column_stands_in_the_v2_readme() -> None:
    text = (ROOT / "v2" / "README.md").read_text()
    assert [name for name in SCHEMA.fieldNames() if f"`{name}`" not in text] == []


LINK = re.compile(r"\]\(([^)\s:]+\.(?:md|py|yml))?(?:#([^)]+))?\)")
DOCUMENTS = sorted(
    path for path in ROOT.rglob("*.md") if not {".venv", ".cache", "node_modules"} & {*path.parts}
)


def anchors(path: Path) -> set[str]:
    """The anchors of a document's headings, as code hosts make them."""
    headings = re.findall(r"^#+ (.*)", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_between_documents_leads_somewhere(path: Path) -> None:
    for file, anchor in LINK.findall(path.read_text()):
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), file
        assert not anchor or target.suffix != ".md" or anchor in anchors(target), (file, anchor)


def test_the_error_tree_of_the_readme_is_that_of_the_code() -> None:
    from nats_spark_common import errors

    tree = re.findall(r"[├└]── (\w+)", errors.__doc__ or "")
    text = (ROOT / "common" / "README.md").read_text()
    assert re.findall(r"[├└]── (\w+)", text) == tree
    assert {name for name in vars(errors) if name.endswith("Error")} - {"NatsSparkError"} == set(
        tree
    )


V2, BALANCED, PARTITIONED = "v2", "balanced", "archived/partitioned"
SINK, ALL = "common/SINK.md", "README.md"

#: Every option and variable in the sources and READMEs of the Scala connectors, by the document
#: that has the guide for it.
SCALA_KEYS = {
    V2: """
        nats.credential.file nats.host nats.key-store.password nats.key-store.path nats.port
        nats.pull.batch.size nats.pull.batcher.frequency.secs nats.pull.batcher.initial.delay
        nats.pull.consumer.ack.wait nats.pull.consumer.create nats.pull.consumer.max.ack.pending
        nats.pull.consumer.max.batch nats.pull.subscription.durable.name
        nats.pull.subscription.stream.name nats.pull.wait.time nats.storage.payload-compression
        nats.stream.name nats.stream.subject nats.stream.subjects nats.tls.algorithm
        nats.trust-store.password nats.trust-store.path
    """,
    BALANCED: """
        nats.ack.none nats.allow.reconnect nats.connection.outgoingqueue.maxmessages
        nats.connection.timeout nats.connection.user.name nats.connection.user.password
        nats.datetime.format nats.durable.name nats.flush.wait.millis nats.host
        nats.idle-timeout.minutes nats.js.api-prefix nats.js.define-consumer nats.js.define-stream
        nats.key-store.password nats.key-store.path nats.msg.ack.wait.secs
        nats.msg.fetch.batch.size nats.msg.receive.wait.millis nats.num.listeners
        nats.ping.interval nats.ping.interval.secs nats.port nats.reconnect.wait
        nats.reconnect.wait.secs nats.ssl.context.factory.class nats.storage.payload-compression
        nats.storage.replicas nats.storage.type nats.stream.name nats.stream.subjects
        nats.tls.algorithm nats.trust-store.password nats.trust-store.path
    """,
    PARTITIONED: """
        nats.allow.reconnect nats.connection.timeout nats.connection.user.name
        nats.connection.user.password nats.host nats.js.api-prefix nats.num.partitions
        nats.ping.interval nats.port nats.reconnect.wait nats.reset.on.restart nats.stream.prefix
    """,
    SINK: "nats.credential.file nats.host nats.port nats.stream.name nats.stream.subject",
    ALL: """
        LOG_PROP_PATH NATS_CREDS NATS_NKEY NATS_TLS_ALGO NATS_TLS_KEY_STORE
        NATS_TLS_KEY_STORE_PASSWORD NATS_TLS_TRUST_STORE NATS_TLS_TRUST_STORE_PASSWORD
    """,
}


@pytest.mark.parametrize("document", SCALA_KEYS)
def test_every_key_of_the_scala_connectors_is_in_a_guide(document: str) -> None:
    path = ROOT / document
    text = (path if path.is_file() else path / "README.md").read_text()
    guide = text.partition("\n## Coming from the Scala")[2].partition("\n## ")[0]
    assert guide
    assert [key for key in SCALA_KEYS[document].split() if f"`{key}`" not in guide] == []


def test_the_options_of_the_guides_are_those_that_are_tested() -> None:
    keys = {key for keys in SCALA_KEYS.values() for key in keys.split() if key.startswith("nats.")}
    jvm_only = {key for key in keys if canonical(key) in JVM_ONLY}
    assert keys - SCALA.keys() - jvm_only == {"nats.connection.user.password"}  # needs a user
