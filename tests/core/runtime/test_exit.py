"""Stopping, and the interpreter's exit: pending work finishes, within bounds."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from memlane.errors import LoopError
from memlane.runtime import OwnedLoop

Run = Callable[[str], str]


async def nothing() -> None:
    pass


def test_stopping_finishes_jobs_then_exit_calls_then_the_last_ones(owned: OwnedLoop) -> None:
    """Jobs still have their transports, and drains still have what is closed last."""
    order: list[str] = []
    release = threading.Event()

    async def job() -> None:
        await asyncio.to_thread(release.wait)
        order.append("job")

    async def close() -> None:
        order.append("close")

    async def drain() -> None:
        order.append("drain")

    async def let_go() -> None:
        release.set()

    owned.on_exit(close, last=True)
    owned.on_exit(drain)
    owned.start(job)
    owned.start(let_go)
    owned.stop()
    assert order == ["job", "drain", "close"]


def test_an_exit_call_can_be_taken_back_and_has_a_bound(
    owned: OwnedLoop, caplog: pytest.LogCaptureFixture
) -> None:
    """One that hangs is cancelled after its seconds, and one that was forgotten never runs."""
    calls: list[str] = []

    async def forgotten() -> None:
        calls.append("forgotten")

    async def hang() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            calls.append("cancelled")

    owned.on_exit(forgotten)()
    owned.on_exit(hang, seconds=0.01)
    owned.call_sync(nothing)
    owned.stop()
    assert calls == ["cancelled"]
    assert "exit call failed" in caplog.text


def test_an_exit_call_may_use_its_own_loop(owned: OwnedLoop) -> None:
    """It runs there, so a call from it is direct, and no second loop is started."""
    threads: list[int] = []

    async def where() -> None:
        threads.append(threading.get_ident())

    async def drain() -> None:
        await owned.call(where)

    owned.on_exit(drain)
    owned.call_sync(where)
    owned.stop()
    assert len(threads) == 2
    assert len(set(threads)) == 1


def test_after_a_stop_another_call_begins_anew(owned: OwnedLoop) -> None:
    """The generation grows, so that holders of resources know that theirs are gone."""
    owned.call_sync(nothing)
    before = owned.generation
    owned.stop()
    owned.stop()
    owned.call_sync(nothing)
    assert owned.generation == before + 1


def test_an_owned_loop_cannot_be_stopped_from_within(owned: OwnedLoop) -> None:
    """It would wait for its own thread."""

    async def stop() -> None:
        owned.stop()

    with pytest.raises(LoopError):
        owned.call_sync(stop)


def test_a_pending_job_finishes_when_the_interpreter_exits(run_script: Run) -> None:
    """A job that can only end after the main thread has ended does end."""
    printed = run_script("""
        import asyncio, threading
        from memlane.runtime import io_loop

        async def job():
            await asyncio.to_thread(threading.main_thread().join)
            print("finished", flush=True)

        io_loop().start(job)
    """)
    assert printed == "finished\n"


def test_the_work_loop_ends_before_the_io_loop(run_script: Run) -> None:
    """Exit calls of background work still reach the network, by name and over a new connection."""
    printed = run_script("""
        import asyncio, socket, threading
        from memlane.runtime import io_loop, work_loop

        listening = socket.create_server(("127.0.0.1", 0))

        def serve():
            connection, _ = listening.accept()
            with connection:
                connection.sendall(connection.recv(100))

        threading.Thread(target=serve, daemon=True).start()

        async def ask():
            reader, writer = await asyncio.open_connection(
                "localhost", listening.getsockname()[1], family=socket.AF_INET)
            writer.write(b"drained")
            answer = await reader.read()
            writer.close()
            return answer.decode()

        async def drain():
            print(await io_loop().call(ask), flush=True)

        async def close():
            print("closed", flush=True)

        async def nothing():
            pass

        io_loop().on_exit(close, last=True)
        io_loop().call_sync(nothing)
        work_loop().on_exit(drain)
        work_loop().call_sync(nothing)
    """)
    assert printed == "drained\nclosed\n"


def test_a_hanging_exit_call_does_not_keep_the_interpreter(run_script: Run) -> None:
    """The bound holds, the cleanup runs, and the program ends."""
    printed = run_script("""
        import asyncio, logging
        from memlane.runtime import work_loop
        logging.disable()

        async def hang():
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                print("cleaned up", flush=True)

        async def nothing():
            pass

        work_loop().on_exit(hang, seconds=0.05)
        work_loop().call_sync(nothing)
    """)
    assert printed == "cleaned up\n"


def test_worker_threads_serve_what_runs_at_exit(run_script: Run) -> None:
    """The last write reaches its thread, even one that had never been started."""
    printed = run_script("""
        from memlane.runtime import WorkerThreads, work_loop
        pool = WorkerThreads("writer", 1)

        async def drain():
            print(await pool.run(lambda: "written", shield=True), flush=True)

        async def nothing():
            pass

        work_loop().on_exit(drain)
        work_loop().call_sync(nothing)
    """)
    assert printed == "written\n"


def test_a_program_that_never_called_exits_at_once(run_script: Run) -> None:
    """Exit calls belong to a loop; where none was started there is nothing to drain."""
    printed = run_script("""
        from memlane.runtime import io_loop

        async def drain():
            print("never")

        io_loop().on_exit(drain)
        print("done")
    """)
    assert printed == "done\n"
