"""An embedder that needs no account and no network: all-MiniLM-L6-v2, shipped inside the wheel.

The int8 model takes one scale per tensor, so a text's vector would depend on its neighbours in a
batch (cosine down to 0.97). One text per run costs 18 % of throughput and makes a vector a
function of its text alone, which caches, idempotency and thresholds rely on.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias, cast

import numpy as np

from memlane.checks import check_inputs, closed_error
from memlane.errors import BackendError, EmbeddingSpaceError, MissingExtraError, ValidationError
from memlane.protocols import EmbeddingSpace, Purpose, Vector
from memlane.runtime import WorkerThreads, fork, together

__all__ = ("MiniLMEmbedder",)

_MODEL_FILES: Final = Path(__file__).parent / "model"
_SPACE: Final = EmbeddingSpace(model="all-minilm-l6-v2-int8", dimensions=384)
_MAX_TOKENS: Final = 256  # what the model was trained to read; more is cut
_MAX_BATCH: Final = 256
_MAX_CHARS: Final = 1000
"""English prose has 4.2 to 4.8 characters a token, so this is at most 240 of 256 tokens."""
_MAX_CHUNK: Final = 8
"""Texts per job: a query waits for a few of another caller's texts, not for its whole batch."""


class _Encoding(Protocol):
    @property
    def ids(self) -> list[int]: ...
    @property
    def attention_mask(self) -> list[int]: ...


class _Tokenizer(Protocol):
    def encode(self, sequence: str, /) -> _Encoding: ...


class _Session(Protocol):
    def run(self, outputs: None, feeds: dict[str, Any], /) -> Sequence[Any]: ...


class _Model:
    """A loaded model: a vector per text, on any thread."""

    def __init__(self, tokenizer: _Tokenizer, session: _Session) -> None:
        self._tokenizer = tokenizer
        self._session = session

    def token_ids(self, text: str) -> list[int]:
        return self._tokenizer.encode(text).ids

    def embed(self, text: str) -> Vector:
        tokens = self._tokenizer.encode(text)
        feeds = {
            "input_ids": np.array([tokens.ids], dtype=np.int64),
            "attention_mask": np.array([tokens.attention_mask], dtype=np.int64),
        }
        vector: Vector = np.asarray(self._session.run(None, feeds)[0][0], dtype=np.float32)
        if vector.shape != (_SPACE.dimensions,) or not np.isfinite(vector).all():
            raise EmbeddingSpaceError(
                "the local model gave a vector that is not 384 finite numbers",
                operation="embed",
                remedy="report the text's language and length; another embedder may take it",
            )
        return vector


def _load() -> _Model:
    try:
        import onnxruntime  # noqa: PLC0415  (half a second and 60 MB that only users of it pay)
        import tokenizers  # noqa: PLC0415
    except ImportError as exc:
        raise MissingExtraError(
            "the local embedder needs onnxruntime and tokenizers",
            operation="embed",
            remedy="pip install 'memlane[local]'",
        ) from exc
    onnx = cast("Any", onnxruntime)
    onnx.disable_telemetry_events()
    options = onnx.SessionOptions()
    # Two threads in one run cost a quarter more CPU and are no faster without spinning; two
    # texts at once are. Spinning would burn the cores of the program we are a guest in.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnx.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # errors; the rest goes to stderr past the logging module
    try:
        tokenizer = cast("Any", tokenizers).Tokenizer.from_file(
            str(_MODEL_FILES / "tokenizer.json")
        )
        # The file pads and cuts at 128; the model reads twice that, and one text needs no padding.
        tokenizer.no_padding()
        tokenizer.enable_truncation(_MAX_TOKENS)
        session = onnx.InferenceSession(
            str(_MODEL_FILES / "minilm-l6-int8.onnx"), options, providers=["CPUExecutionProvider"]
        )
    except Exception as exc:  # the two libraries have no common error of their own
        raise BackendError(
            "the local model cannot be loaded",
            operation="embed",
            remedy="reinstall memlane: its model files are missing or damaged",
        ) from exc
    return _Model(tokenizer, session)


class MiniLMEmbedder:
    """English sentence vectors on the CPU; loads with the first text.

    Args:
        threads: How many texts are computed at once.
    """

    def __init__(self, threads: int = 2) -> None:
        if threads < 1:
            raise ValidationError("threads is below 1", remedy="pass at least one thread")
        self._threads = threads
        self._pool = WorkerThreads("memlane-minilm", threads)
        self._loading = threading.Lock()
        self._model: _Model | None = None
        self._closed = False
        fork.watch(self._after_fork)

    @property
    def space(self) -> EmbeddingSpace:
        """384 dimensions of length one; documents and queries alike."""
        return _SPACE

    @property
    def max_batch(self) -> int:
        """Texts per call at most."""
        return _MAX_BATCH

    @property
    def max_chars(self) -> int:
        """Characters a text may have: what of English prose fits the model's 256 tokens."""
        return _MAX_CHARS

    async def embed(self, inputs: Sequence[str], *, purpose: Purpose) -> Vector:
        """Return a row per text; `purpose` makes no difference to this model.

        Raises:
            ValidationError: Too many texts, one that is too long, or not proper text.
            MissingExtraError: The extra `local` is not installed.
        """
        del purpose
        if self._closed:
            raise closed_error("embed")
        check_inputs(inputs, max_batch=_MAX_BATCH, max_chars=_MAX_CHARS)
        rows = {text: row for row, text in enumerate(dict.fromkeys(inputs))}
        out = np.zeros((len(rows), _SPACE.dimensions), dtype=np.float32)
        jobs = [
            functools.partial(self._pool.run, functools.partial(self._fill, out, chunk))
            for chunk in _chunks(rows, self._threads)
        ]
        await together(jobs, at_once=self._threads)
        if len(rows) == len(inputs):
            return out
        return out[[rows[text] for text in inputs]]

    async def aclose(self) -> None:
        """Let the model and its threads go; may be called twice."""
        self._closed = True
        self._pool.close()
        self._model = None

    def _fill(self, out: Vector, chunk: _Chunk) -> None:
        model = self._loaded()
        for text, row in chunk:
            out[row] = model.embed(text)

    def _loaded(self) -> _Model:
        model = self._model
        if model is None:
            # Held while loading: whoever comes meanwhile needs the same model.
            with self._loading:
                model = self._model
                if model is None:
                    model = self._model = _load()
        return model

    def _after_fork(self) -> None:
        # A thread of the parent may have held the allocator's lock; it is not here to release it.
        fork.keep(self._model)
        self._model = None
        self._loading = threading.Lock()


_Chunk: TypeAlias = "list[tuple[str, int]]"  # texts and the rows their vectors go to


def _chunks(rows: Mapping[str, int], threads: int) -> list[_Chunk]:
    items = list(rows.items())
    size = max(1, min(_MAX_CHUNK, -(-len(items) // threads)))
    return [items[start : start + size] for start in range(0, len(items), size)]
