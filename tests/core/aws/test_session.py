"""The chain is aioboto3's own, and nothing but it brings botocore in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from blockbuster import BlockBuster

from memlane.aws.credentials import AmbientCredentials, HostCredentials
from memlane.errors import CredentialsError

AIOBOTO3 = find_spec("aioboto3") is not None
Run = Callable[..., dict[str, object]]

PROFILES = """
[default]
aws_access_key_id = AKIADEFAULT
aws_secret_access_key = default-secret

[profile other]
aws_access_key_id = AKIAOTHER
aws_secret_access_key = other-secret
aws_session_token = other-token

[profile process]
credential_process = {python} {script}

[profile broken]
credential_process = {python} -c "raise SystemExit('AKIALEAK')"

[profile hung]
credential_process = {python} {hung}

[profile half]
aws_access_key_id = AKIAHALF
"""

PROCESS = """
import json
print(json.dumps({"Version": 1, "AccessKeyId": "ASIAPROCESS", "SecretAccessKey": "process-secret",
                  "SessionToken": "process-token", "Expiration": "2999-01-01T00:00:00Z"}))
"""

HUNG = """
import os, pathlib, sys, time
told = pathlib.Path(sys.argv[0] + ".pid")
if not told.exists():
    told.write_text(str(os.getpid()))
    time.sleep(60)
"""

PROLOGUE = """
import json, sys
import anyio
from memlane.aws.credentials import *
from memlane.errors import MemlaneError

def shown(c):
    return [c.access_key, c.secret_key, c.session_token, c.expires_at and c.expires_at.isoformat()]
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return a function that runs a program with AWS files and variables of its own."""
    script = tmp_path / "process.py"
    script.write_text(PROCESS)
    config = tmp_path / "config"
    hung = tmp_path / "hung.py"
    hung.write_text(HUNG + PROCESS)
    config.write_text(PROFILES.format(python=sys.executable, script=script, hung=hung))

    def in_process(source: str, **variables: str) -> dict[str, object]:
        done = subprocess.run(
            [sys.executable, "-c", PROLOGUE + textwrap.dedent(source)],
            env={
                "AWS_CONFIG_FILE": str(config),
                "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
                "AWS_EC2_METADATA_DISABLED": "true",
                "HOME": str(tmp_path),
                "PYTHONPATH": os.pathsep.join(sys.path),
                **variables,
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        found: dict[str, object] = json.loads(done.stdout)
        return found

    return in_process


ASK = """
print(json.dumps({"got": shown(anyio.run(AmbientCredentials(PROFILE), backend=BACKEND))}))
"""


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize(
    ("profile", "got"),
    [
        (None, ["AKIADEFAULT", "default-secret", None, None]),
        ("other", ["AKIAOTHER", "other-secret", "other-token", None]),
        (
            "process",
            ["ASIAPROCESS", "process-secret", "process-token", "2999-01-01T00:00:00+00:00"],
        ),
    ],
)
def test_profiles_are_found(
    run: Run, backend: str, profile: str | None, got: list[str | None]
) -> None:
    """By name or by default, from a file or a program, with the end where one is told."""
    source = ASK.replace("PROFILE", repr(profile)).replace("BACKEND", repr(backend))
    assert run(source) == {"got": got}


def test_the_environment_comes_first(run: Run) -> None:
    """As with every AWS tool: variables before the default profile, AWS_PROFILE for its choice."""
    source = ASK.replace("PROFILE", "None").replace("BACKEND", "'asyncio'")
    env = {"AWS_ACCESS_KEY_ID": "AKIAENV", "AWS_SECRET_ACCESS_KEY": "env-secret"}
    assert run(source, **env) == {"got": ["AKIAENV", "env-secret", None, None]}
    assert run(source, AWS_PROFILE="other") == {
        "got": ["AKIAOTHER", "other-secret", "other-token", None]
    }


@pytest.mark.skipif(not AIOBOTO3, reason="the extra aws3 has no aioboto3")
def test_the_chain_is_aioboto3s(run: Run) -> None:
    """It is asked of a session that aioboto3 made, and of no client of ours."""
    found = run("""
        import aioboto3
        made = []
        class Spy(aioboto3.Session):
            def __init__(self, *args, **kwargs):
                made.append(kwargs)
                super().__init__(*args, **kwargs)
            async def get_credentials(self):
                made.append(type(self).__mro__[1].__module__)
                return await super().get_credentials()
        aioboto3.Session = Spy
        got = anyio.run(AmbientCredentials("other"))
        print(json.dumps({"made": made, "key": got.access_key}))
    """)
    assert found == {
        "made": [{"profile_name": "other"}, "aioboto3.session"],
        "key": "AKIAOTHER",
    }


def test_without_aioboto3_the_chain_is_aiobotocores(run: Run) -> None:
    """The extra `aws3` has what aioboto3 wraps, and finds the same."""
    found = run("""
        sys.modules["aioboto3"] = None
        got = anyio.run(AmbientCredentials("other"))
        print(json.dumps({"key": got.access_key, "aiobotocore": "aiobotocore" in sys.modules}))
    """)
    assert found == {"key": "AKIAOTHER", "aiobotocore": True}


def test_without_either_the_extra_is_named(run: Run) -> None:
    """One line that says what to install."""
    found = run("""
        sys.modules["aioboto3"] = sys.modules["aiobotocore"] = None
        sys.modules["aiobotocore.session"] = None
        try:
            anyio.run(AmbientCredentials())
        except ImportError as error:
            print(json.dumps({"said": str(error)}))
    """)
    assert "memlane[aws]" in str(found["said"])


def test_static_credentials_never_import_botocore(run: Run) -> None:
    """Neither does the import of all that signs, sends and caches."""
    found = run("""
        import asyncio
        import memlane.aws.plane, memlane.aws.sts, memlane.aws.session
        got = asyncio.run(HostCredentials(StaticCredentials("AKIAX", "secret")).get())
        names = {name.partition(".")[0] for name in sys.modules}
        vendors = {"botocore", "boto3", "aioboto3", "aiobotocore"}
        imported = sorted(vendors & names) + ["anyio's asyncio"] * (
            "anyio._backends._asyncio" in sys.modules
        )
        print(json.dumps({"key": got.access_key, "imported": imported}))
    """)
    assert found == {"key": "AKIAX", "imported": []}


@pytest.mark.parametrize(
    ("profile", "words", "remedy"),
    [
        ("absent", "ProfileNotFound", "configuration files"),
        ("broken", "CredentialRetrievalError", "cause"),
        ("half", "PartialCredentialsError", "secret key"),
    ],
)
def test_a_failing_chain_says_why(run: Run, profile: str, words: str, remedy: str) -> None:
    """By the kind of the failure alone: its text may hold what a program printed."""
    found = run(f"""
        try:
            anyio.run(AmbientCredentials({profile!r}))
        except MemlaneError as error:
            print(json.dumps({{"kind": type(error).__name__, "said": str(error)}}))
    """)
    assert found["kind"] == "CredentialsError"
    assert words in str(found["said"])
    assert remedy in str(found["said"])
    assert "LEAK" not in str(found["said"])


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_program_that_hangs_is_given_up_with_its_caller(
    run: Run, tmp_path: Path, backend: str
) -> None:
    """The next walk is not kept waiting behind it, and the program is ended."""
    found = run(f"""
        import os, pathlib
        host = HostCredentials(AmbientCredentials("hung"))
        pid = pathlib.Path({str(tmp_path / "hung.py.pid")!r})

        async def main():
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(host.get)
                while not pid.exists() or not pid.read_text():
                    await anyio.sleep(0.01)
                tasks.cancel_scope.cancel()
            got = await host.get()
            with anyio.fail_after(20):
                while True:
                    try:
                        os.kill(int(pid.read_text()), 0)
                    except ProcessLookupError:
                        break
                    await anyio.sleep(0.01)
            return shown(got)

        print(json.dumps({{"got": anyio.run(main, backend={backend!r})}}))
    """)
    assert found["got"] == [
        "ASIAPROCESS", "process-secret", "process-token", "2999-01-01T00:00:00+00:00"
    ]  # fmt: skip


def test_a_walk_takes_no_longer_than_it_may(run: Run) -> None:
    """Even for a caller without a deadline, and the error says where to look."""
    found = run("""
        from memlane.aws.session import walk_chain
        try:
            walk_chain("hung", seconds=0.3)
        except MemlaneError as error:
            print(json.dumps({"kind": type(error).__name__, "said": str(error)}))
    """)
    assert found["kind"] == "CredentialsError"
    assert "within 0.3 seconds" in str(found["said"])
    assert "credential_process" in str(found["said"])


def test_a_walk_that_was_ended_before_it_began(run: Run) -> None:
    """Its caller went while it was queued: nothing is asked."""
    found = run("""
        import asyncio
        from memlane.aws.session import Ending, walk_chain
        ending = Ending()
        ending()
        try:
            walk_chain("other", ending=ending)
        except asyncio.CancelledError:
            print(json.dumps({"ended": True}))
    """)
    assert found == {"ended": True}


def test_no_credentials_at_all(run: Run, tmp_path: Path) -> None:
    """Where nothing is, one error names the places that were looked at."""
    found = run(
        """
        try:
            anyio.run(HostCredentials(AmbientCredentials()).get)
        except MemlaneError as error:
            print(json.dumps({"kind": type(error).__name__, "said": str(error)}))
        """,
        AWS_CONFIG_FILE=str(tmp_path / "nowhere"),
    )
    assert found["kind"] == "CredentialsError"
    assert "aws configure" in str(found["said"])


async def test_no_loop_waits_for_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, blockbuster: BlockBuster
) -> None:
    """The chain reads them in a thread and on a loop of its own, where nobody else waits."""
    config = tmp_path / "config"
    config.write_text(PROFILES.format(python=sys.executable, script="none", hung="none"))
    for function in blockbuster.functions.values():
        function.can_block_in("memlane/aws/session.py", {"walk_chain"})
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    host = HostCredentials(AmbientCredentials("other"))
    assert (await host.get()).access_key == "AKIAOTHER"
    config.write_text("")
    host.reject(await host.get())
    with pytest.raises(CredentialsError, match="ProfileNotFound"):
        await host.get()
