"""The first call of a short-lived process loads nothing that it does not need."""

from collections.abc import Callable
from pathlib import Path

from core.runtime.conftest import run_script

__all__ = ("run_script",)

SETTING = f"""
import asyncio, sys

sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from core.aws.answering import AnsweringServer
from memlane.aws.plane import DataPlane
from memlane.aws.wire import Request
from memlane.protocols import Credentials

server = AnsweringServer()
credentials = Credentials(access_key="AKIDEXAMPLE", secret_key="a-secret-key-of-someone")
request = Request("s3vectors", "QueryVectors", "/QueryVectors", b"asked")

def new():
    return DataPlane(region="us-east-1", endpoint_urls={{"*": server.url}})

async def ask(plane, *, enter=False):
    if enter:
        await plane.enter()
    await plane.call(request, credentials)
    await plane.aclose()
"""


def test_anyio_finds_no_loop_for_it(run_script: Callable[[str], str]) -> None:
    """Whoever sets no deadline with anyio does not load its 14 ms of asyncio."""
    printed = run_script(
        SETTING
        + """
asyncio.run(ask(new(), enter=True))
asyncio.run(ask(new()))
late = {"anyio._backends._asyncio", "html", "email.mime", "trio"} & set(sys.modules)
print(late, len(server.asked))
"""
    )
    assert printed == "set() 2\n"


def test_a_deadline_is_known_all_the_same(run_script: Callable[[str], str]) -> None:
    """Once anyio has loaded what sets it."""
    printed = run_script(
        SETTING
        + """
import math
from memlane.aws.retries import patience_here

async def look():
    print(patience_here() == math.inf, "anyio._backends._asyncio" in sys.modules)
    import anyio
    with anyio.move_on_after(5):
        print(4 < patience_here() <= 5)

asyncio.run(look())
"""
    )
    assert printed.split() == ["True", "False", "True"]


def test_a_deadline_of_trio_is_known(run_script: Callable[[str], str]) -> None:
    """It needs nothing of anyio's to have one."""
    printed = run_script(
        SETTING
        + """
import math, trio
from memlane.aws.retries import patience_here

async def look_on_trio():
    print(patience_here() == math.inf)
    with trio.move_on_after(5):
        print(4 < patience_here() <= 5)

trio.run(look_on_trio)
"""
    )
    assert printed.split() == ["True", "True"]
