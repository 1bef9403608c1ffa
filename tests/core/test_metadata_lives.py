"""Validity and pictures on the wire, beside what users call so themselves."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from memlane.errors import BackendError
from memlane.metadata import from_metadata, to_metadata, wire_name
from memlane.scope import Scope
from memlane.testing.samples import NOW, make_record
from memlane.types import MetadataValue


def test_a_users_own_words_for_validity() -> None:
    """Keys that were a user's before there was validity stay the user's, beside it."""
    own: dict[str, MetadataValue] = {"valid_from": 1, "~valid_to": "x", "valid": [1], "images": "y"}
    record = make_record("x", scope=Scope("u"), metadata=own)
    flat = to_metadata(record)
    assert [flat[wire_name(key)] for key in own] == [1, "x", [1], "y"]
    assert flat["valid_from"] == 1
    assert wire_name("@valid_from") not in flat
    valid = replace(record, valid_from=NOW, valid_to=NOW + timedelta(minutes=1))
    flat = to_metadata(valid)
    assert flat["valid_from"] == 1
    assert flat[wire_name("@valid_to")] - flat[wire_name("@valid_from")] == 1
    assert from_metadata("x", flat).metadata == own


@pytest.mark.parametrize("damage", [{"valid": ["x", None]}, {"valid": 1}, {"images": [[1]]}])
def test_damaged_lives(damage: dict[str, object]) -> None:
    """What cannot have been written is told, and not read as something else."""
    flat = to_metadata(make_record("x"))
    flat["payload"] = json.dumps(json.loads(flat["payload"]) | damage)
    with pytest.raises(BackendError, match="damaged"):
        from_metadata("x", flat)
