"""The table behind an index agrees with a dictionary, whatever is stored and deleted."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from memlane.testing.emulator.s3vectors.records import Put
from memlane.testing.emulator.s3vectors.table import Table, shuffled

KEYS = st.sampled_from([f"k{n}" for n in range(8)])
WORDS = st.sampled_from(["x", "y", "z"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), KEYS, st.integers(1, 9), WORDS),
        st.tuples(st.just("delete"), KEYS, st.just(0), st.just("")),
        st.tuples(st.just("list"), st.just(""), st.just(0), st.just("")),
    ),
    max_size=40,
)


def stored(key: str, number: int, word: str) -> Put:
    data = np.array([number, 1], dtype=np.float32)
    metadata = {"word": word, "words": [word, "all"], "number": number, "content": word}
    return Put(key, data, metadata, number, float(number))


@given(STEPS)
def test_a_table_is_a_dictionary(steps: list[tuple[str, str, int, str]]) -> None:
    table = Table(2, frozenset({"content"}))
    model: dict[str, tuple[int, str]] = {}
    for step, key, number, word in steps:
        if step == "put":
            table.put([stored(key, number, word)])
            model[key] = (number, word)
        elif step == "delete":
            table.delete([key])
            model.pop(key, None)
        else:
            table.after(None, 0, 2**32, 100)
    assert sorted(table.keys) == sorted(model)
    for row, key in enumerate(table.keys):
        number, word = model[key]
        assert table.row(key) == row
        assert table.vector(row).tolist() == [number, 1]
        assert table.matrix[row].tolist() == [number, 1]
        assert table.metadata[row]["word"] == word
        assert table.weights[row] == number
        assert table.marks[row] == shuffled(key)
        assert table.norms[row] == number
    listed = table.after(None, 0, 2**32, 100)
    assert listed == sorted((shuffled(key), key) for key in model)
    for place in range(len(listed)):
        assert table.after(listed[place], 0, 2**32, 2) == listed[place + 1 : place + 3]
    for word in ("x", "y", "z"):
        rows = [row for row, key in enumerate(table.keys) if model[key][1] == word]
        assert table.holding([("word", word)]) == rows
        assert table.holding([("words", word), ("words", "all")]) == rows
    assert table.holding([("content", "x")]) == []
    assert table.holding([]) is None
