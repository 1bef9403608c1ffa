"""Every operation of the service is there, and everything that is a choice is written down."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import botocore.session
import pytest

from emulator.signed import Signed, prepared
from memlane.testing.emulator import Emulator, Switches
from memlane.testing.emulator.routes import routed
from memlane.testing.emulator.s3vectors.service import OPERATIONS, TAG_OPERATIONS

PAGE = Path(__file__).parents[2] / "docs" / "emulator.md"
FORM = "application/x-www-form-urlencoded"


def test_all_of_the_services_model() -> None:
    """botocore's, older or newer, knows none that the emulator does not."""
    model = botocore.session.get_session().get_service_model("s3vectors")
    ours = set(OPERATIONS) | set(TAG_OPERATIONS.values())
    assert set(model.operation_names) <= ours
    assert len(ours) == 22
    for name in set(model.operation_names) & set(OPERATIONS):
        http = model.operation_model(name).http
        assert (http["method"], http["requestUri"]) == ("POST", f"/{name}")


@pytest.mark.parametrize(
    ("method", "path", "body", "content_type", "route"),
    [
        ("POST", "/QueryVectors", b"{}", "application/json", ("s3vectors", "QueryVectors")),
        ("GET", "/tags/arn%3Aaws", b"", "", ("s3vectors", "ListTagsForResource")),
        ("POST", "/tags/arn%3Aaws", b"{}", "application/json", ("s3vectors", "TagResource")),
        ("DELETE", "/tags/arn%3Aaws", b"", "", ("s3vectors", "UntagResource")),
        ("PUT", "/tags/arn%3Aaws", b"", "", ("", "")),
        ("POST", "/model/a%3A0/invoke", b"{}", "application/json", ("bedrock", "InvokeModel")),
        ("POST", "/", b"Version=1&Action=AssumeRole", FORM, ("sts", "AssumeRole")),
        ("POST", "/", b"Version=1", FORM, ("sts", "")),
        ("POST", "/", b"{}", "application/json", ("", "")),
        ("POST", "/queryvectors", b"{}", "application/json", ("", "")),
    ],
)
def test_routes(
    method: str, path: str, body: bytes, content_type: str, route: tuple[str, str]
) -> None:
    assert routed(method, path, body, content_type) == route


def test_every_switch_is_on_the_page() -> None:
    page = PAGE.read_text()
    for field in dataclasses.fields(Switches):
        assert f"`{field.name}`" in page, field.name
        assert f"        {field.name}: " in (Switches.__doc__ or ""), field.name


@pytest.mark.parametrize("name", ["x-amzn-ErrorType", "x-amzn-errortype"])
def test_the_errors_header(emulator: Emulator, name: str) -> None:
    """Header names know no case; who compares them exactly is found out by the other setting."""
    index: Signed = prepared(emulator)
    emulator.blocking.switch(error_header=name)
    with index.opened("QueryVectors", {}) as answer:
        assert (name, "ValidationException") in answer.getheaders()
