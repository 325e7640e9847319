"""`Tokenizer`: text to ids, exactly as the installed `tokenizers` would.

                      ┌─ byte-level BPE, known pattern ──► gristmill._native.Encoder (Rust threads, no GIL)
    tokenizer.json ───┤
                      └─ every other model ──────────────► the installed `tokenizers`, in batches

`tokenizer.engine` says which road is taken, and why. The reference is
`encode(text, add_special_tokens=False)` with `encode_special_tokens=True`, no truncation and no padding:
a document is data, and a literal `<|endoftext|>` in it is ordinary text.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tokenizers
from numpy.typing import NDArray

from gristmill import _native, durable, tokenizer_file as files
from gristmill.arrow_columns import in_arrow
from gristmill.byte_alphabet import bytes_of_token
from gristmill.errors import BadDocumentError, TokenizerError, UnsupportedTokenizerError, require_extra
from gristmill.gpt2_files import gpt2_files_in, tokenizer_json_of
from gristmill.options import check_count
from gristmill.reference import ReferenceEncoder, default_num_threads as default_num_threads
from gristmill.token_batch import TokenBatch as TokenBatch, as_str, check_num_threads, good_texts, is_skip
from gristmill.vocabulary import Vocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True)
class EngineChoice:
    """Which road encodes: `name` is "gristmill" or "tokenizers", `reason` says why; `str()` is the name."""

    name: str
    reason: str

    def __str__(self) -> str:
        return self.name


class Tokenizer(Vocabulary):
    """An immutable tokenizer, safe to share between threads; equal to another one if it does the same.

    Make one with `from_file`, `from_str`, `from_pretrained`, `from_tokenizers` or `from_transformers`, or
    train one with `train_tokenizer`. All of them take `eos_token=` and `pad_token=`, the texts of tokens of
    the vocabulary. Without them, the files beside the tokenizer decide, then the one special token with a
    well-known name (`<|endoftext|>`, `</s>`, ...).

    Truncation and padding stored in a file are left out, with a line in the log. BPE dropout is refused.
    It pickles by its JSON, and hashes the same in every process.

    Example:
        >>> from gristmill import train_tokenizer
        >>> tokenizer = train_tokenizer(["def f(x): return x"] * 9, vocab_size=268, show_progress=False)
        >>> tokenizer.decode(tokenizer.encode("def g(x): pass"))
        'def g(x): pass'
    """

    def __init__(self, tokenizer_json: str, roles: Mapping[str, str] | None = None, name: str = "") -> None:
        """Build from the text of a `tokenizer.json` and its special tokens by role."""
        name = name or "tokenizer JSON"
        self._native, self._engine = _choose_engine(tokenizer_json, name)
        # The own engine has read vocabulary and merges already, which is nearly all there is.
        head = tokenizer_json if self._native is None else self._native.head_json
        content = files.parse_object(head, name)
        files.refuse_dropout(content, name)
        text = tokenizer_json
        if files.has_truncation_or_padding(content, name):
            text = files.without_truncation_and_padding(tokenizer_json, name)
        self._reference = ReferenceEncoder(text, name)
        decoder = content.get("decoder")
        self._decodes_bytes = isinstance(decoder, dict) and decoder.get("type") == "ByteLevel"
        if self._native is None or not self._decodes_bytes:
            self._reference.get()  # what cannot be read is told now, not at the first text
        super().__init__(text, content, roles or {}, name, self._native)
        if self.eos_token is not None and content["model"].get("ignore_merges"):
            # A piece that is a token stands for it, though no merge makes it.
            self._eos_in_text |= self.encode(self.eos_token).tolist() == [self.eos_token_id]

    # Making one ------------------------------------------------------------------------------------------

    @classmethod
    def from_file(
        cls, path: str | os.PathLike[str], *, eos_token: str | None = None, pad_token: str | None = None
    ) -> Tokenizer:
        """Read a `tokenizer.json`.

        Raises:
            TokenizerError: the file is missing or unreadable, or the model's ids have no fixed meaning.

        Example:
            >>> Tokenizer.from_file("no/tokenizer.json")  # doctest: +ELLIPSIS
            Traceback (most recent call last):
            gristmill.errors.TokenizerError: no/tokenizer.json: cannot be read: No such file or directory ...
        """
        text = files.read_text(path, "a tokenizer.json")
        return cls(text, _given_roles(eos_token, pad_token), str(path))

    @classmethod
    def from_str(
        cls, tokenizer_json: str, *, eos_token: str | None = None, pad_token: str | None = None
    ) -> Tokenizer:
        """Take the text of a `tokenizer.json`.

        Raises:
            TokenizerError: as `from_file`.

        Example:
            >>> text = '{"model": {"type": "WordLevel", "vocab": {"a": 0, "?": 1}, "unk_token": "?"}}'
            >>> Tokenizer.from_str(text).encode("a").tolist()
            [0]
        """
        if not isinstance(tokenizer_json, str):
            raise TypeError(
                f"tokenizer_json is {type(tokenizer_json).__name__} (expected the text of a tokenizer.json)"
            )
        return cls(tokenizer_json, _given_roles(eos_token, pad_token))

    @classmethod
    def from_tokenizers(
        cls, tokenizer: tokenizers.Tokenizer, *, eos_token: str | None = None, pad_token: str | None = None
    ) -> Tokenizer:
        """Copy a `tokenizers.Tokenizer` as it is now; later changes to it are not seen.

        Raises:
            TokenizerError: it cannot be written as JSON (parts made in Python), or as `from_file`.

        Example:
            >>> model = tokenizers.models.WordLevel({"a": 0, "?": 1}, unk_token="?")
            >>> Tokenizer.from_tokenizers(tokenizers.Tokenizer(model)).encode("a").tolist()
            [0]
        """
        if not isinstance(tokenizer, tokenizers.Tokenizer):
            raise TypeError(f"tokenizer is {type(tokenizer).__name__} (expected tokenizers.Tokenizer)")
        return cls(_to_json(tokenizer), _given_roles(eos_token, pad_token), "tokenizers.Tokenizer")

    @classmethod
    def from_transformers(
        cls, tokenizer: object, *, eos_token: str | None = None, pad_token: str | None = None
    ) -> Tokenizer:
        """Copy a fast tokenizer of `transformers`, special tokens included.

        Raises:
            TokenizerError: it is written in Python alone, so that nothing exact can be taken from it.

        Example:
            >>> fast = tokenizer.to_transformers()  # or AutoTokenizer.from_pretrained(...)
            >>> Tokenizer.from_transformers(fast) == tokenizer
            True
        """
        kind = type(tokenizer).__name__
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if not isinstance(backend, tokenizers.Tokenizer):
            raise TokenizerError(
                f"{kind} is no fast tokenizer: it has no backend_tokenizer "
                "(expected a PreTrainedTokenizerFast, which is built on the package tokenizers)"
            )
        texts = {role: getattr(tokenizer, role, None) for role in files.ROLES}
        roles = {role: str(text) for role, text in texts.items() if text is not None}
        return cls(_to_json(backend), roles | _given_roles(eos_token, pad_token), kind)

    @classmethod
    def from_pretrained(
        cls, folder: str | os.PathLike[str], *, eos_token: str | None = None, pad_token: str | None = None
    ) -> Tokenizer:
        """Read the `tokenizer.json` of a local folder; nothing is fetched.

        A folder may hold GPT-2's own two files instead (`vocab.json` and `merges.txt`, or `encoder.json` and
        `vocab.bpe`): they are read as byte-level BPE with the GPT-2 pattern, which is what they stand for.

        Of `tokenizer_config.json` and `special_tokens_map.json` beside it, only the special tokens are taken.

        Raises:
            TokenizerError: the folder or its files are missing, one of them is unreadable, or two that are
                named like GPT-2's are of another class of tokenizer.

        Example:
            >>> tokenizer.save_pretrained("/tmp/gristmill-doc-tokenizer")
            >>> Tokenizer.from_pretrained("/tmp/gristmill-doc-tokenizer") == tokenizer
            True
        """
        if not isinstance(folder, str | os.PathLike):
            raise TypeError(f"folder is a {type(folder).__name__} (expected the path of a local folder)")
        path = Path(folder)
        if not path.is_dir():
            raise TokenizerError(
                f"{folder}: no such folder "
                f"(expected a local one with a {files.TOKENIZER_FILE}; nothing is fetched)"
            )
        place = path / files.TOKENIZER_FILE
        if place.exists():
            text = files.read_text(place, "a tokenizer.json")
        elif (pair := gpt2_files_in(path)) is not None:
            place, _ = pair
            text = tokenizer_json_of(*pair)
        else:
            found = ", ".join(sorted(entry.name for entry in path.iterdir())[:10]) or "nothing"
            raise TokenizerError(
                f"{folder}: no {files.TOKENIZER_FILE} in it (found: {found}; expected it, or GPT-2's "
                "vocab.json and merges.txt)"
            )
        roles = files.read_roles(path) | _given_roles(eos_token, pad_token)
        return cls(text, roles, str(place))

    # Encoding and decoding -------------------------------------------------------------------------------

    def encode(self, text: str | bytes, allow_special: bool = False) -> NDArray[Any]:
        """Return the ids of one text: `(num_tokens,)`, of `id_dtype`. No EOS is added.

        `allow_special=True` takes special tokens that stand in the text for themselves, as `tokenizers` does
        by default; that goes through the installed package.

        Raises:
            BadDocumentError: no text: another type, a lone surrogate, bytes that are not UTF-8.

        Example:
            >>> tokenizer.encode("def f(x):")
            array([266, 263,   8,  88, 257], dtype=uint16)
        """
        if self._native is not None and not allow_special:
            try:
                return self._native.encode(text)
            except BadDocumentError as error:
                raise BadDocumentError("text", None, error.reason) from None
        for _, reason in _native.check_texts([text]):
            raise BadDocumentError("text", None, reason)
        ids = self._reference.encode(as_str(text), allow_special)
        return np.array(ids, dtype=self.id_dtype)

    def encode_batch(
        self,
        texts: Sequence[object],
        num_threads: int | None = None,
        on_bad: str = "error",
        allow_special: bool = False,
    ) -> TokenBatch:
        """Return the ids of many texts, each `str` or UTF-8 `bytes`.

        Args:
            texts: a sequence of texts; or texts in Arrow memory (whatever has `__arrow_c_array__` or
                `__arrow_c_stream__`, a column of a `datasets` data set), which are read where they lie.
            num_threads: Rust threads, all cores by default. Ids never depend on it. The road through the
                installed `tokenizers` cannot be told a number; RAYON_NUM_THREADS sets it for the process.
            on_bad: "error" raises at the first value that is no text, "skip" leaves such values out.
            allow_special: as in `encode`.

        Raises:
            BadDocumentError: a value is no text, and `on_bad` is "error".
            TokenizerError: the installed `tokenizers` failed on a document (which one is said).

        Example:
            >>> batch = tokenizer.encode_batch(["def f(x):", b"", None], on_bad="skip")
            >>> batch.offsets.tolist(), batch.bad
            ([0, 5, 5], ((2, 'null'),))
        """
        threads = check_num_threads(num_threads)
        skip_bad = is_skip(on_bad)
        if isinstance(texts, str | bytes):
            raise TypeError(
                f"texts is a single {type(texts).__name__} "
                "(expected a sequence of texts; encode takes a single one)"
            )
        texts = in_arrow(texts)
        if not isinstance(texts, Iterable | _native.ArrowTexts):
            raise TypeError(f"texts is a {type(texts).__name__} (expected a sequence of texts)")
        if self._native is not None and not allow_special:
            ids, offsets, bad = self._native.encode_batch(texts, threads, skip_bad)
            return TokenBatch(ids, offsets, tuple(bad))
        good, bad = good_texts(texts, skip_bad)
        ids, offsets = self._reference.encode_batch(good, allow_special, self.id_dtype)
        return TokenBatch(ids, offsets, tuple(bad))

    def encode_with_spans(
        self, texts: Sequence[str]
    ) -> Iterator[tuple[list[str], NDArray[Any], NDArray[np.int64], NDArray[np.int64]]]:
        """Yield `(texts, ids, offsets, spans)` in parts, through the installed `tokenizers`.

        `spans` is `(num_tokens, 2)`, int64: from which to which character of its text each token reaches.

        Example:
            >>> [spans.tolist() for *_, spans in tokenizer.encode_with_spans(["def f"])]
            [[[0, 3], [3, 5]]]
        """
        return self._reference.encode_with_spans(texts, self.id_dtype)

    def decode(self, ids: Sequence[int] | NDArray[Any], skip_special_tokens: bool = False) -> str:
        """Return the text of ids, as the decoder of the tokenizer makes it.

        Bytes that form no UTF-8 (a character cut in two) become U+FFFD; `decode_bytes` gives them unchanged.

        Raises:
            TokenizerError: an id is not in the vocabulary, or is no integer.

        Example:
            >>> tokenizer.decode([266, 263])
            'def f'
        """
        array = self.checked_ids(ids)
        if skip_special_tokens and self._special_tokens:
            array = array[~np.isin(array, self._special_ids)]
        if self._native is not None and self._decodes_bytes:
            return self._native.decode_bytes(array).decode("utf-8", errors="replace")
        return self._reference.get().decode(array.tolist(), skip_special_tokens=False)

    def decode_bytes(self, ids: Sequence[int] | NDArray[Any]) -> bytes:
        """Return the bytes that ids stand for; where the model is not byte-level, `decode` as UTF-8.

        Raises:
            TokenizerError: as `decode`.

        Example:
            >>> tokenizer.decode_bytes(tokenizer.encode("é")[:1])
            b'\\xc3'
        """
        array = self.checked_ids(ids)
        if self._native is not None:
            return self._native.decode_bytes(array)
        if self._decodes_bytes:
            return b"".join(bytes_of_token(self._token_of_id[token_id]) for token_id in array.tolist())
        return self.decode(array).encode("utf-8")

    def tokens(self, text: str | bytes) -> list[str]:
        """Return the tokens of a text as the vocabulary spells them.

        Example:
            >>> tokenizer.tokens("def f")
            ['def', 'Ġf']
        """
        return [self._token_of_id[token_id] for token_id in self.encode(text).tolist()]

    # What it is ------------------------------------------------------------------------------------------

    @property
    def engine(self) -> EngineChoice:
        """Which road encodes, and why: `str()` gives "gristmill" or "tokenizers".

        Example:
            >>> print(tokenizer.engine, "for", tokenizer.engine.reason)
            gristmill for byte-level BPE with the GPT-2 pattern
        """
        return self._engine

    @property
    def cache_bytes(self) -> int | None:
        """Bytes that the engine may use to remember pieces of text; None on the road through `tokenizers`.

        Of all threads together: 192 MiB by default, of which a thread uses at most 12 MiB. It is about speed
        alone, never about ids, and belongs to this object: a copy or a pickle starts with the default.

        Example:
            >>> tokenizer.cache_bytes // 2**20
            192
        """
        return None if self._native is None else self._native.cache_bytes

    def set_cache_bytes(self, cache_bytes: int) -> None:
        """Bound the memory of the engine's tables, and drop what they hold. A thread uses at least 30 KiB.

        Raises:
            TypeError: no whole number. ConfigError: below 0, or above 2**48.

        Example:
            >>> tokenizer.set_cache_bytes(64 * 2**20)
            >>> tokenizer.cache_bytes // 2**20
            64
        """
        cache_bytes = check_count("cache_bytes", cache_bytes, 0, 2**48)
        if self._native is not None:
            self._native.cache_bytes = cache_bytes

    @property
    def native(self) -> _native.Encoder | None:
        """The compiled encoder, None on the road through the installed `tokenizers`."""
        return self._native

    def to_tokenizers(self) -> tokenizers.Tokenizer:
        """Return a new `tokenizers.Tokenizer` of the same JSON; there, special tokens match in texts.

        Example:
            >>> tokenizer.to_tokenizers().encode("def f<|endoftext|>").ids
            [266, 263, 0]
        """
        return self._reference.build()

    def to_transformers(self) -> PreTrainedTokenizerFast:
        """Return a `transformers` tokenizer with the same vocabulary and special tokens.

        Raises:
            MissingExtraError: `transformers` is not installed.

        Example:
            >>> tokenizer.to_transformers()("def f")["input_ids"]
            [266, 263]
        """
        try:
            from transformers import PreTrainedTokenizerFast
        except ImportError as error:
            raise require_extra("transformers", "train", "Tokenizer.to_transformers") from error
        return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
            tokenizer_object=self.to_tokenizers(), clean_up_tokenization_spaces=False, **self._roles
        )

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write a folder that `from_pretrained` and `transformers.AutoTokenizer` read; made if missing.

        Each file appears whole or not at all, `tokenizer.json` as the last one.

        Raises:
            OSError: a file cannot be written.

        Example:
            >>> tokenizer.save_pretrained("/tmp/gristmill-doc-tokenizer")
        """
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        # PreTrainedTokenizerFast takes tokenizer.json as it is; a class of a model would build its own.
        config = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
        durable.write_json(path / files.CONFIG_FILE, config | self._roles)
        durable.write_text(path / files.TOKENIZER_FILE, self._json)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tokenizer):
            return NotImplemented
        return self is other or self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return int(self.fingerprint[:15], 16)  # hash() of a text differs from process to process

    def __reduce__(self) -> tuple[type[Tokenizer], tuple[str, dict[str, str]]]:
        # Not the name: two copies of one tokenizer hash the same, wherever they were read.
        return type(self), (self._json, self._roles)

    def __repr__(self) -> str:
        return f"Tokenizer({len(self)} tokens, eos_token={self.eos_token!r}, engine={self.engine.name!r})"


def _given_roles(eos_token: str | None, pad_token: str | None) -> dict[str, str]:
    given = {"eos_token": eos_token, "pad_token": pad_token}
    return {role: text for role, text in given.items() if text is not None}


def _choose_engine(tokenizer_json: str, name: str) -> tuple[_native.Encoder | None, EngineChoice]:
    try:
        encoder = _native.Encoder.from_json(tokenizer_json)
        cut = f"with the {encoder.pattern} pattern" if encoder.pattern else "without a pattern"
        return encoder, EngineChoice("gristmill", ", ".join([f"byte-level BPE {cut}", *encoder.extras]))
    except UnsupportedTokenizerError as error:
        return None, EngineChoice("tokenizers", str(error))
    except (TokenizerError, UnicodeEncodeError) as error:  # the latter: a lone surrogate in the text
        # What is wrong before a model is looked at is told in the same words on both roads.
        files.refuse_dropout(files.parse_object(tokenizer_json, name), name)
        raise TokenizerError(f"{name}: {error}") from None


def _to_json(tokenizer: tokenizers.Tokenizer) -> str:
    try:
        return tokenizer.to_str()
    except Exception as error:
        raise TokenizerError(
            f"this tokenizers.Tokenizer cannot be written as JSON: {error} (expected parts that are not made "
            "in Python)"
        ) from error
