"""Columns of numbers in a checkpoint of nats-balanced: they come back, and damage is rejected."""

from __future__ import annotations

import base64
import json
import zlib

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pyspark_nats_balanced.packed_columns import unpack, unzigzag, zigzag

from ..._support.checkpoint_parts import HUGE, int64s, packed

NUMBERS = st.integers(0, 300) | st.integers(0, HUGE)
COLUMNS = st.lists(st.lists(NUMBERS, max_size=20), max_size=7)


def unpacked(text: str, count: int) -> list[list[int]]:
    return [column.tolist() for column in unpack(text, count)]


def text_of(data: bytes) -> str:
    """Return the text that `pack` returns for these bytes."""
    return base64.b85encode(zlib.compress(data)).decode()


@given(COLUMNS)
def test_packed_columns_come_back(columns: list[list[int]]) -> None:
    assert unpacked(packed(columns), len(columns)) == columns


@pytest.mark.parametrize("bits", [0, 1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 62])
@pytest.mark.parametrize("beyond", [-1, 0])
def test_the_largest_number_of_a_width_comes_back(bits: int, beyond: int) -> None:
    column = [0, (1 << bits) + beyond, 1]
    assert unpacked(packed([column]), 1) == [column]


@pytest.mark.parametrize("column", [[], [0], [255], [1 << 15], [1 << 40]])
def test_columns_come_back_as_64_bits(column: list[int]) -> None:
    assert unpack(packed([column]), 1)[0].dtype == np.int64


@given(COLUMNS)
def test_equal_columns_have_one_text(columns: list[list[int]]) -> None:
    text = packed(columns)
    assert packed([column.tolist() for column in unpack(text, len(columns))]) == text


def test_other_columns_have_another_text() -> None:
    texts = {packed(each) for each in ([[1, 2], []], [[1], [2]], [[], [1, 2]], [[2, 1], []])}
    assert len(texts) == 4


@given(COLUMNS)
def test_packed_columns_need_no_escapes_in_json(columns: list[list[int]]) -> None:
    text = packed(columns)
    assert json.dumps(text) == f'"{text}"'


def test_one_large_number_among_small_ones_costs_next_to_nothing() -> None:
    small = [5] * 10_000
    assert len(packed([[*small, HUGE]])) < len(packed([small])) + 100


@given(COLUMNS.filter(len))
def test_a_text_that_is_cut_short_is_rejected(columns: list[list[int]]) -> None:
    text = packed(columns)
    for length in range(len(text)):
        with pytest.raises(ValueError):
            unpack(text[:length], len(columns))


@pytest.mark.parametrize("more", ["00000", "0000000000"])
def test_a_text_that_goes_on_is_rejected(more: str) -> None:
    for text in (packed([[1] * count]) for count in range(20)):
        with pytest.raises(ValueError):
            unpack(text + more, 1)


@given(COLUMNS.filter(len), st.data())
@settings(max_examples=300)
def test_a_changed_letter_never_makes_other_numbers(
    columns: list[list[int]], data: st.DataObject
) -> None:
    text = packed(columns)
    at = data.draw(st.integers(0, len(text) - 1))
    changed = text[:at] + data.draw(st.characters()) + text[at + 1 :]
    try:
        found = unpacked(changed, len(columns))
    except ValueError:
        return
    assert found == columns


@given(st.text() | st.text("0123456789ABCDEFabcdef~{}"), st.integers(0, 7))
def test_a_text_that_was_never_packed_is_rejected(text: str, count: int) -> None:
    with pytest.raises(ValueError):
        unpack(text, count)


@given(COLUMNS, st.integers(0, 9))
def test_another_number_of_columns_is_rejected(columns: list[list[int]], count: int) -> None:
    assume(count != len(columns))
    with pytest.raises(ValueError, match="it is too long" if count < len(columns) else "cut short"):
        unpack(packed(columns), count)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01",
        b"\x01\x00\x00\x00",
        b"\x00\x00\x00\x00\x00",
        b"\x03\x01\x00\x00\x00abc",
        b"\x09\x01\x00\x00\x00abcdefghi",
        b"\x02\x01\x00\x00\x00a",
        b"\x01\xff\xff\xff\xffa",
        b"\x01\x01\x00\x00\x00ab",
    ],
)
def test_bytes_that_are_no_column_are_rejected(data: bytes) -> None:
    with pytest.raises(ValueError):
        unpack(text_of(data), 1)


@given(st.lists(st.integers(-300, 300) | st.integers(-HUGE, HUGE - 1)))
def test_signed_numbers_come_back(values: list[int]) -> None:
    assert unzigzag(zigzag(int64s(values))).tolist() == values


@given(st.lists(st.integers(-HUGE, HUGE - 1)))
def test_signed_numbers_become_non_negative(values: list[int]) -> None:
    assert (zigzag(int64s(values)) >= 0).all()


def test_numbers_near_zero_stay_small() -> None:
    assert zigzag(int64s([0, -1, 1, -2, 2])).tolist() == [0, 1, 2, 3, 4]
