"""Tests against AWS itself: off unless `MEMLANE_LIVE` is set, on one bucket that is deleted."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import anyio
import pytest

from live.account import ESTIMATE, Account, new_bucket
from memlane_plain import Settings
from memlane_plain.composition import aws_parts


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is in this folder, and skip it unless it was asked for."""
    for item in items:
        if "live" in item.path.parts:
            item.add_marker(pytest.mark.aws)
            if not os.environ.get("MEMLANE_LIVE"):
                item.add_marker(pytest.mark.skip(reason="costs money: set MEMLANE_LIVE=1"))


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, object]]:
    """One loop is enough for what is about the service."""
    return "asyncio", {}


@pytest.fixture(scope="session")
def say(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Print past what pytest captures."""
    capture = request.config.pluginmanager.get_plugin("capturemanager")
    assert capture is not None

    def told(text: str) -> None:
        with capture.global_and_fixture_disabled():
            print(text, flush=True)  # noqa: T201 - what this is for

    return told


@pytest.fixture(scope="session")
async def account(anyio_backend: object, say: Callable[[str], None]) -> AsyncIterator[Account]:
    """A bucket, and what was found out about the service at the end."""
    del anyio_backend
    bucket = new_bucket()
    settings = Settings.from_environment(url=f"s3vectors://{bucket}")
    parts = aws_parts(replace(settings.aws, auto_onboard=True))
    where = settings.aws.endpoint_urls.get("*", f"AWS, {settings.aws.region}")
    say(f"\n{ESTIMATE}\nbucket {bucket} at {where}")
    opened = Account(settings, parts.plane, parts.host, bucket)
    await opened.call("CreateVectorBucket", vectorBucketName=bucket)
    try:
        yield opened
    finally:
        with anyio.CancelScope(shield=True):
            await opened.delete()
        for about, found in opened.facts.items():
            say(f"fact: {about}: {found}")
        await parts.plane.aclose()
