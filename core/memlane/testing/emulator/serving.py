"""Running the emulator until somebody stops it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from memlane.testing.emulator.cloud import REGION, Cloud
from memlane.testing.emulator.s3vectors.buckets import create_bucket
from memlane.testing.emulator.server import listening
from memlane.testing.emulator.switches import Switches

__all__ = ("Announce", "exports", "serve")

Announce = Callable[[dict[str, str]], None]

_LOOK: Final = 1.0


def exports(url: str, access_key: str, secret_key: str, role_arn: str) -> dict[str, str]:
    """Return the variables with which AWS's clients, and memlane, find the emulator."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": access_key,
        "AWS_SECRET_ACCESS_KEY": secret_key,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "MEMLANE_ROLE_ARN": role_arn,
    }


def serve(
    port: int = 0,
    *,
    host: str = "127.0.0.1",
    switches: Switches | Mapping[str, object] | None = None,
    announce: Announce | None = None,
    buckets: Sequence[str] = (),
    tied: bool = False,
) -> None:
    """Serve until interrupted.

    Args:
        port: Where to listen; 0 for a port that is free.
        host: Where to listen; whoever reaches it rules the emulator.
        switches: How to behave where that is not known.
        announce: Called once with the variables to export, when connections are accepted.
        buckets: Vector buckets to begin with.
        tied: End also when standard input does, or the parent process.

    Raises:
        OSError: The port is taken.
        ValidationError: A switch is unknown.
    """
    if not isinstance(switches, Switches):
        switches = Switches().changed(switches or {})
    parent = os.getppid() if tied else None  # at once: it may be gone before anybody connects
    cloud = Cloud(switches)
    for name in buckets:
        wanted = cloud.world.account.wanted_bucket({"vectorBucketName": name})
        create_bucket(cloud.world, wanted, {})
    asyncio.run(_serve(cloud, port, host=host, announce=announce, parent=parent))


async def _serve(
    cloud: Cloud, port: int, *, host: str, announce: Announce | None, parent: int | None
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows has Ctrl-C alone
            loop.add_signal_handler(number, stop.set)
    server = await listening(cloud, host=host, port=port)
    try:
        if announce is not None:
            key = cloud.identity.admin
            url = f"http://{host}:{server.port}"
            announce(exports(url, key.access_key, key.secret_key, cloud.tenant_role))
        if parent is not None:
            thread = threading.Thread(target=_await_end, args=(loop, stop), daemon=True)
            thread.start()
            await _orphaned(stop, parent)
        else:
            await stop.wait()
    finally:
        await server.aclose()


def _await_end(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    while os.read(sys.stdin.fileno(), 4_096):
        pass
    loop.call_soon_threadsafe(stop.set)


async def _orphaned(stop: asyncio.Event, parent: int) -> None:
    """Wait for the end; a parent that forked may be dead while its pipe is still held open."""
    while os.getppid() == parent:
        try:
            await asyncio.wait_for(stop.wait(), _LOOK)
        except TimeoutError:
            continue
        return
