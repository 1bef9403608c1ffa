"""The local model gives the vectors it is known for, whatever else it is asked at the time."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest

from core.local import programs
from memlane.errors import BackendError, MissingExtraError, ValidationError
from memlane.local import MiniLMEmbedder, minilm
from memlane.protocols import Embedder

_GOLDEN: list[dict[str, Any]] = json.loads(
    Path(__file__).with_name("golden.json").read_text(encoding="utf-8")
)["cases"]
_PROSE = (
    "Maria told me yesterday that she would rather take the early train to Lisbon, because the "
    "afternoon one is always late and she has to pick up her daughter from the kindergarten. "
)


@pytest.fixture(scope="module")
def embedder() -> MiniLMEmbedder:
    """One for all tests: loading is the slow part."""
    return MiniLMEmbedder()


def test_it_is_an_embedder(embedder: MiniLMEmbedder) -> None:
    """The space says what makes these vectors differ from the full model's."""
    assert isinstance(embedder, Embedder)
    assert embedder.space.id == "all-minilm-l6-v2-int8:384"


@pytest.mark.parametrize("case", _GOLDEN, ids=range(len(_GOLDEN)))
def test_golden_texts(embedder: MiniLMEmbedder, case: dict[str, Any]) -> None:
    """Token ids are equal, and the vector is as far from the full model's as was measured."""
    model = embedder._loaded()
    ids = model.token_ids(case["text"])
    assert ids[: len(case["token_ids"])] == case["token_ids"]
    assert len(ids) == case["n_tokens"]
    vector = model.embed(case["text"]).astype(np.float64)
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-4)
    # Eight components of the full model's vector are known. A cosine within 0.01 of the one
    # measured means a distance over 384 components, of which eight hold about their share.
    cosine = case["cosine_int8_to_reference"] - 0.01
    share = np.sqrt(2 * (1 - cosine)) * np.sqrt(8 / 384)
    assert np.linalg.norm(vector[:8] - case["reference"]) < 2 * share


async def test_a_vector_does_not_depend_on_its_neighbours(embedder: MiniLMEmbedder) -> None:
    """The same text alone, in a batch and in another order has the same bits."""
    texts = [case["text"][: embedder.max_chars] for case in _GOLDEN]
    together = await embedder.embed(texts, purpose="document")
    backwards = await embedder.embed(texts[::-1], purpose="query")
    alone = [(await embedder.embed([text], purpose="query"))[0] for text in texts]
    assert np.array_equal(together, backwards[::-1])
    assert np.array_equal(together, np.stack(alone))
    assert together.dtype == np.float32
    assert together.flags.c_contiguous


async def test_repeated_texts_share_a_vector(embedder: MiniLMEmbedder) -> None:
    """A text given several times fills a row each time, in order."""
    rows = await embedder.embed(["tea", "coffee", "tea"], purpose="document")
    assert rows.shape == (3, 384)
    assert np.array_equal(rows[0], rows[2])
    assert not np.array_equal(rows[0], rows[1])
    assert (await embedder.embed([], purpose="document")).shape == (0, 384)


async def test_prose_of_the_greatest_length_is_read_whole(embedder: MiniLMEmbedder) -> None:
    """The last words of a text of `max_chars` still change its vector."""
    text = "".join(itertools.islice(itertools.cycle(_PROSE), embedder.max_chars))
    assert len(embedder._loaded().token_ids(text)) < 256
    rows = await embedder.embed([text, text[:-20]], purpose="document")
    assert not np.array_equal(rows[0], rows[1])


@pytest.mark.parametrize(
    "inputs", [["x" * 1001], ["ok", "\ud800"], ["tea"] * 257, [b"tea"]], ids=lambda _: ""
)
async def test_what_cannot_be_embedded_is_refused(
    embedder: MiniLMEmbedder, inputs: list[str]
) -> None:
    """Texts too long, too many, or no proper text are refused before the model runs."""
    with pytest.raises(ValidationError):
        await embedder.embed(inputs, purpose="document")


async def test_a_query_passes_a_large_batch(embedder: MiniLMEmbedder) -> None:
    """Another caller's one text is done long before a batch that came first."""
    done: list[str] = []

    async def embed(name: str, texts: list[str]) -> None:
        await embedder.embed(texts, purpose="document")
        done.append(name)

    async with anyio.create_task_group() as group:
        group.start_soon(embed, "batch", [f"{number} {_PROSE}" for number in range(200)])
        group.start_soon(embed, "query", ["where is the train?"])
    assert done == ["query", "batch"]


async def test_cancelling_a_batch_leaves_the_model_usable(embedder: MiniLMEmbedder) -> None:
    """A caller who gives up is released, and the next one is served."""
    with anyio.CancelScope() as scope:
        scope.cancel()
        await embedder.embed([f"{number} {_PROSE}" for number in range(100)], purpose="document")
    assert scope.cancelled_caught
    assert (await embedder.embed(["tea"], purpose="query")).shape == (1, 384)


async def test_use_after_close() -> None:
    """A closed embedder says so; closing twice is nothing."""
    embedder = MiniLMEmbedder(threads=1)
    await embedder.aclose()
    await embedder.aclose()
    with pytest.raises(BackendError, match="closed"):
        await embedder.embed(["tea"], purpose="query")


async def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without onnxruntime the error has the command that installs it."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    embedder = MiniLMEmbedder()
    with pytest.raises(MissingExtraError, match=r"pip install 'memlane\[local\]'"):
        await embedder.embed(["tea"], purpose="query")
    await embedder.aclose()


async def test_missing_model_files_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A broken installation is told apart from a broken text, and may be repaired meanwhile."""
    embedder = MiniLMEmbedder()
    with monkeypatch.context() as patch:
        patch.setattr(minilm, "_MODEL_FILES", tmp_path)
        with pytest.raises(BackendError, match="reinstall"):
            await embedder.embed(["tea"], purpose="query")
    assert (await embedder.embed(["tea"], purpose="query")).shape == (1, 384)
    await embedder.aclose()


def test_importing_loads_no_vendor() -> None:
    """Neither the package nor the engine imports what only the model needs."""
    assert not programs.run(
        """
        from memlane.local import MiniLMEmbedder
        MiniLMEmbedder()
        say(*(name for name in ("onnxruntime", "tokenizers") if name in sys.modules))
        """
    )


def test_a_forked_child_has_a_model_of_its_own() -> None:
    """The child loads anew, whatever the parent's threads were doing."""
    assert (
        programs.run(
            """
            from memlane.local import MiniLMEmbedder
            embedder = MiniLMEmbedder()
            async def embed():
                return (await embedder.embed(["tea"], purpose="query"))[0]
            before = anyio.run(embed)
            if os.fork():
                say(os.waitstatus_to_exitcode(os.wait()[1]))
            else:
                os._exit(0 if (anyio.run(embed) == before).all() else 1)
            """
        )
        == "0"
    )
