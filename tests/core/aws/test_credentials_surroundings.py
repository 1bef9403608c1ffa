"""The caches belong to no loop: threads, forks, and an interpreter that exits."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import anyio
import pytest

from core.aws.providers import Vendor
from memlane.aws.credentials import TenantCredentials
from memlane.errors import CredentialsError, UnavailableError
from memlane.scope import Scope
from memlane.testing import FakeClock


def run(source: str) -> str:
    """Run a program in an interpreter of its own and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(source)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 0
    return done.stdout


PROLOGUE = """
import os, threading
from datetime import timedelta
import anyio, anyio.lowlevel
from memlane.aws.credentials import TenantCredentials
from memlane.protocols import Credentials
from memlane.scope import Scope
from memlane.testing import FakeClock

clock, asked, gate, failing = FakeClock(), [], threading.Event(), []
gate.set()

async def provider(scope):
    asked.append(threading.current_thread().name)
    while not gate.is_set():
        await anyio.lowlevel.checkpoint()
    if failing:
        raise failing[0]
    return Credentials(access_key=f"ASIA{scope.tenant}{len(asked)}", secret_key="s",
                       session_token="t", expires_at=clock.now() + timedelta(minutes=15))

tenants = TenantCredentials(provider, clock=clock)
acme = Scope("ada", tenant="acme")

async def until(condition):
    while not condition():
        await anyio.lowlevel.checkpoint()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_forked_child_renews_what_its_parent_was_renewing() -> None:
    """Credentials are good in the child; the renewal under way is not the child's."""
    assert run(
        PROLOGUE
        + """
async def begin():
    await tenants.get(acme)
    gate.clear()
    clock.advance(timedelta(minutes=11))
    tenants.peek(acme)
    await until(lambda: len(asked) == 2)

async def in_child():
    assert tenants.peek(acme).access_key == "ASIAacme1"
    await until(lambda: tenants.peek(acme).access_key == "ASIAacme3")
    other = await tenants.get(Scope("ada", tenant="other"))
    print("child has", other.access_key, flush=True)

anyio.run(begin)
child = os.fork()
gate.set()
if child == 0:
    anyio.run(in_child)
    os._exit(0)
_, status = os.waitpid(child, 0)
anyio.run(until, lambda: tenants.peek(acme).access_key == "ASIAacme2")
print("parent has", tenants.peek(acme).access_key, status)
"""
    ).splitlines() == ["child has ASIAother4", "parent has ASIAacme2 0"]


def test_exiting_in_the_middle_of_a_renewal_is_quiet() -> None:
    """What is under way when the interpreter exits is cancelled, without a word."""
    assert (
        run(
            PROLOGUE
            + """
async def begin():
    await tenants.get(acme)
    clock.advance(timedelta(minutes=11))
    tenants.peek(acme)
    await until(lambda: tenants.peek(acme).access_key == "ASIAacme2")
    clock.advance(timedelta(minutes=11))
    print(tenants.peek(acme).access_key)

anyio.run(begin)
"""
        )
        == "ASIAacme2\n"
    )


def test_at_exit_what_is_valid_can_still_be_had() -> None:
    """A draining queue signs its last requests after the loops have stopped."""
    assert (
        run(
            """
import atexit
def last():
    clock.advance(timedelta(minutes=11))
    print(tenants.peek(acme).access_key)
    tenants.warm(acme)
atexit.register(last)
"""
            + PROLOGUE
            + "anyio.run(tenants.get, acme)\n"
        )
        == "ASIAacme1\n"
    )


def test_threads_never_get_anothers_credentials(clock: FakeClock) -> None:
    """Eight threads with loops of both kinds get, peek, warm and reject in three places."""
    vendor = Vendor(clock)
    tenants = TenantCredentials(vendor, size=3, clock=clock)

    async def work(seed: int) -> None:
        dice = random.Random(seed)
        for turn in range(400):
            scope = Scope("u", tenant=f"t{dice.randrange(8)}-")
            if turn % 50 == 25 and seed == 0:
                vendor.failure = UnavailableError("down")
                await anyio.lowlevel.checkpoint()
                vendor.failure = None
            try:
                got = tenants.peek(scope) or await tenants.get(scope)
            except UnavailableError:
                continue
            except CredentialsError:  # rejected twice in a row: until later
                clock.advance(timedelta(seconds=2))
                continue
            assert got.access_key.startswith(f"ASIA{scope.tenant}")
            if dice.random() < 0.1:
                tenants.reject(scope, got)
                tenants.warm(scope)

    with ThreadPoolExecutor(8) as pool:
        for done in [
            pool.submit(_run, work, seed, "trio" if seed % 2 else "asyncio") for seed in range(8)
        ]:
            done.result(60)
    assert tenants.kept <= 3


def _run(work: object, seed: int, backend: str) -> None:
    anyio.run(work, seed, backend=backend)  # type: ignore[arg-type]
