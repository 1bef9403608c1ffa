"""Keys that somebody has: checked when they are handed over, and never renewed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from core.aws.providers import until
from memlane.aws.credentials import AmbientCredentials, HostCredentials, StaticCredentials
from memlane.errors import CredentialsError, ValidationError
from memlane.protocols import CredentialProvider
from memlane.runtime import work_loop
from memlane.testing import FakeClock


async def test_static_credentials_never_end() -> None:
    """They are what they are: nothing is begun in the background, ever."""
    clock = FakeClock()
    host = HostCredentials(StaticCredentials("AKIAX", "secret"), clock=clock)
    got = await host.get()
    clock.set(datetime(9000, 1, 1, tzinfo=UTC))
    generation = work_loop().generation
    assert host.peek() is got
    assert not host._cache._kept[None].renewing
    assert work_loop().generation == generation


async def test_static_credentials_with_an_end_are_used_until_then(clock: FakeClock) -> None:
    """Nobody renews a session that was handed over; when it has ended, that is said."""
    end = clock.now() + timedelta(minutes=15)
    host = HostCredentials(StaticCredentials("ASIAX", "secret", "token", end), clock=clock)
    got = await host.get()
    clock.advance(timedelta(minutes=13))
    assert await host.get() is got
    await until(lambda: not host._cache._kept[None].renewing)
    clock.advance(timedelta(minutes=3))
    assert host.peek() is None
    with pytest.raises(CredentialsError, match="ended already"):
        await host.get()


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (("", "secret"), "access_key"),
        (("AKIAX", "two words"), "secret_key"),
        (("AKIAX", None), "secret_key"),
        (("AKIAX", "secret", ""), "session_token"),
        (("AKIAX", "s" * 20_000), "secret_key"),
        (("AKIAX", "secret", None, datetime(2030, 1, 1)), "expires_at"),  # noqa: DTZ001
    ],
)
def test_keys_that_cannot_be_sent(keys: tuple[str, ...], words: str) -> None:
    """They are refused where they are handed over, by name and not by value."""
    with pytest.raises(ValidationError, match=words) as said:
        StaticCredentials(*keys)  # type: ignore[arg-type]
    assert "two words" not in str(said.value)


def test_the_providers_fit_the_protocol() -> None:
    """Those that answer for a scope are credential providers."""
    static: CredentialProvider = StaticCredentials("AKIAX", "secret")
    ambient: CredentialProvider = AmbientCredentials()
    assert isinstance(static, CredentialProvider)
    assert isinstance(ambient, CredentialProvider)
