"""Columns of a DataFrame as parts of a message."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    DataType,
    IntegerType,
    LongType,
    MapType,
    StringType,
    StructField,
    StructType,
)

from nats_spark_common import OptionError
from nats_spark_common.rows.schema import SCHEMA
from nats_spark_common.sink.columns import MessageColumns, message_columns

S, B = StringType(), BinaryType()
WRITTEN = ("subject", "content", "headers", "msgId")
TYPES: dict[str, DataType] = {"subject": S, "content": B, "headers": MapType(S, S), "msgId": S}


def schema(*columns: tuple[str, DataType]) -> StructType:
    return StructType([StructField(name, kind) for name, kind in columns])


def test_a_subject_and_a_payload_are_enough() -> None:
    assert message_columns(schema(("subject", S), ("content", B)), None) == MessageColumns(
        0, 1, None, None
    )


@given(st.permutations(WRITTEN), st.lists(st.booleans(), min_size=4, max_size=4))
def test_columns_are_found_in_any_order_and_case(names: list[str], upper: list[bool]) -> None:
    shown = [name.upper() if up else name for name, up in zip(names, upper, strict=True)]
    columns = [(each, TYPES[name]) for each, name in zip(shown, names, strict=True)]
    assert message_columns(schema(*columns), None) == MessageColumns(*map(names.index, WRITTEN))


def test_data_is_another_name_of_the_payload() -> None:
    assert message_columns(schema(("subject", S), ("Data", S)), None) == MessageColumns(
        0, 1, None, None
    )


def test_without_a_subject_column_the_option_gives_the_subject() -> None:
    assert message_columns(schema(("content", S)), "orders") == MessageColumns(None, 0, None, None)


def test_a_subject_column_comes_before_the_option() -> None:
    assert message_columns(schema(("subject", S), ("content", S)), "orders").subject == 0


def test_rows_that_were_read_can_be_written() -> None:
    position = SCHEMA.names.index
    expected = MessageColumns(position("subject"), position("content"), position("headers"), None)
    assert message_columns(SCHEMA, None) == expected


def test_columns_of_a_source_are_ignored_in_any_type_and_case() -> None:
    columns = [("STREAM", LongType()), ("streamseq", S), ("subject", S), ("content", B)]
    assert message_columns(schema(*columns), None) == MessageColumns(2, 3, None, None)


@pytest.mark.parametrize("kind", [S, B])
@pytest.mark.parametrize("name", ["content", "data"])
def test_a_payload_is_text_or_bytes(name: str, kind: DataType) -> None:
    assert message_columns(schema((name, kind)), "orders").payload == 0


@pytest.mark.parametrize("value", [S, ArrayType(S), ArrayType(S, False)])
def test_headers_have_one_value_or_a_list_of_values(value: DataType) -> None:
    columns = schema(("headers", MapType(S, value)), ("content", B))
    assert message_columns(columns, "orders").headers == 0


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("subject", B, "string"),
        ("msgId", LongType(), "string"),
        ("content", StructType(), "binary or string"),
        ("content", IntegerType(), "binary or string"),
        ("headers", S, "map<string,string> or map<string,array<string>>"),
        ("headers", MapType(B, S), "map<string,string> or"),
        ("headers", MapType(S, B), "map<string,string> or"),
        ("headers", MapType(S, ArrayType(B)), "map<string,string> or"),
        ("headers", MapType(S, ArrayType(ArrayType(S))), "map<string,string> or"),
        ("headers", ArrayType(MapType(S, S)), "map<string,string> or"),
    ],
)
def test_a_column_of_another_type_is_rejected(name: str, kind: DataType, expected: str) -> None:
    columns = {**TYPES, name: kind}
    with pytest.raises(OptionError) as caught:
        message_columns(schema(*columns.items()), None)
    assert f"column {name!r} is {kind.simpleString()}, not {expected}" in str(caught.value)


@pytest.mark.parametrize("name", [*WRITTEN, "data"])
def test_two_columns_that_differ_in_case_only_are_rejected(name: str) -> None:
    kind = TYPES.get(name, B)
    columns = [(name, kind), (name.upper(), kind)]
    with pytest.raises(OptionError, match=f"two columns '{name.upper()}'"):
        message_columns(schema(*columns), "orders")


@pytest.mark.parametrize("drop_unknown", [False, True])
def test_both_names_of_the_payload_at_once_are_rejected(drop_unknown: bool) -> None:
    both = schema(("subject", S), ("content", B), ("data", B))
    with pytest.raises(OptionError, match=r"'content' and 'data' are both.*drop\('content'\)"):
        message_columns(both, None, drop_unknown=drop_unknown)


def test_a_payload_column_is_required() -> None:
    with pytest.raises(OptionError, match="no column 'content'"):
        message_columns(schema(("subject", S)), None)


@pytest.mark.parametrize("default", [None, ""])
def test_a_subject_column_or_option_is_required(default: str | None) -> None:
    with pytest.raises(OptionError, match=r"no column 'subject'.*nats\.sink\.subject"):
        message_columns(schema(("content", B)), default)


@pytest.mark.parametrize("name", ["amount", "streams", ""])
def test_a_column_that_is_not_part_of_a_message_is_rejected(name: str) -> None:
    with pytest.raises(OptionError, match=f"column '{name}' is not part of a message"):
        message_columns(schema(("subject", S), ("content", B), (name, S)), None)


def test_the_error_names_all_unknown_columns_and_the_option_that_drops_them() -> None:
    columns = schema(("subject", S), ("content", B), ("amount", S), ("region", S))
    with pytest.raises(
        OptionError, match=r"columns 'amount', 'region' are.*nats\.sink\.unknown\.columns=drop"
    ):
        message_columns(columns, None)


def test_unknown_columns_are_dropped_on_request() -> None:
    columns = schema(("Amount", LongType()), ("subject", S), ("content", B), ("amount", S))
    found = message_columns(columns, None, drop_unknown=True)
    assert found == MessageColumns(1, 2, None, None, ("Amount", "amount"))


def test_columns_of_a_read_are_not_reported_as_dropped() -> None:
    assert message_columns(SCHEMA, None, drop_unknown=True).dropped == ()


@pytest.mark.parametrize("missing", ["subject", "content"])
def test_dropping_unknown_columns_does_not_make_subject_or_payload_optional(missing: str) -> None:
    columns = [(name, S) for name in ("subject", "content", "amount") if name != missing]
    with pytest.raises(OptionError, match=f"no column '{missing}'"):
        message_columns(schema(*columns), None, drop_unknown=True)


@pytest.mark.parametrize(
    ("name", "meant"), [("subjekt", "subject"), ("header", "headers"), ("msgIds", "msgId")]
)
def test_the_error_suggests_the_column_that_a_misspelt_one_resembles(name: str, meant: str) -> None:
    with pytest.raises(OptionError, match=f"did you mean '{meant}'"):
        message_columns(schema(("content", B), (name, S)), "orders")
