"""Train a tokenizer, through the installed `tokenizers`.

    documents ──► checked texts ──► counts of pieces ──► merges ──► Tokenizer
                     here            `tokenizers`, memory by distinct pieces

A byte-level BPE is a pure function of the texts and the options. (Unigram and WordPiece, which `like=` can
ask for, are not: `tokenizers` walks hash tables there, in another order each time.) Ctrl-C is noticed while
texts are counted; the merging itself runs inside `tokenizers` to its end.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import tokenizers
from tokenizers import AddedToken, decoders, models, pre_tokenizers, processors, trainers

from gristmill.byte_alphabet import BYTE_CHARACTERS
from gristmill.corpus import iter_batches
from gristmill.errors import BadDocumentError, ConfigError, EmptyCorpusError, TokenizerError
from gristmill.options import check_count
from gristmill.token_batch import good_texts, is_skip
from gristmill.tokenizer import Tokenizer

_logger = logging.getLogger("gristmill.tokenizer")

_BATCH_DOCUMENTS = 100

_TRAINERS = {
    "BPE": trainers.BpeTrainer,
    "Unigram": trainers.UnigramTrainer,
    "WordLevel": trainers.WordLevelTrainer,
    "WordPiece": trainers.WordPieceTrainer,
}


def train_tokenizer(
    documents: object,
    vocab_size: int,
    *,
    text_column: str = "text",
    min_frequency: int = 0,
    special_tokens: Sequence[str] | None = None,
    eos_token: str | None = None,
    initial_alphabet: Sequence[str] = BYTE_CHARACTERS,
    like: Tokenizer | None = None,
    show_progress: bool = True,
    on_bad: str = "error",
) -> Tokenizer:
    """Train a byte-level BPE tokenizer with the GPT-2 pattern, or one `like` another.

    Args:
        documents: any iterable of texts (`str`, UTF-8 `bytes`), of lists of texts, or of rows with a text
            column; a `datasets` data set, streaming or not. Read once.
        vocab_size: number of tokens wanted, special tokens and alphabet included. It gets smaller where the
            corpus has no more pairs to merge.
        text_column: the column of rows that holds the text.
        min_frequency: pairs seen fewer times are not merged.
        special_tokens: tokens that no text is encoded to; they get the first ids. `["<|endoftext|>"]` by
            default; with `like`, added to those of that tokenizer.
        eos_token: which of them follows every document; the first one by default (with `like`, its own).
        initial_alphabet: characters that are tokens even if the corpus lacks them, in the spelling of the
            byte alphabet. All 256 by default, so that every text can be encoded.
        like: a tokenizer whose pipeline and special tokens are kept, while vocabulary and merges are learned
            anew, as `train_new_from_iterator` of `transformers` does. `initial_alphabet` is then not used.
        show_progress: whether to draw progress bars, where standard error is a terminal.
        on_bad: "error" raises at the first value that is no text, "skip" leaves such values out and logs
            how many they were.

    Returns:
        The tokenizer. For BPE, the same texts and options give the same one, whatever the number of threads.

    Raises:
        EmptyCorpusError: there is no text in the corpus.
        BadDocumentError: a value is no text, and `on_bad` is "error".
        ConfigError: `vocab_size` cannot hold the alphabet and the special tokens.
        TokenizerError: the model of `like` cannot be trained.

    Example:
        >>> tokenizer = train_tokenizer(["def f(x):", "def g(x):"], vocab_size=262, show_progress=False)
        >>> len(tokenizer), tokenizer.tokens("def h")
        (262, ['def', 'Ġ', 'h'])
    """
    vocab_size = check_count("vocab_size", vocab_size, 1)
    check_count("min_frequency", min_frequency, 0)
    texts = _Texts(documents, text_column, is_skip(on_bad))
    if like is not None:
        recipe = _like(like, list(special_tokens or ()))
        roles = dict(like.roles)
    else:
        names = list(["<|endoftext|>"] if special_tokens is None else special_tokens)
        recipe = _Recipe(_byte_level_bpe(), names, {"initial_alphabet": list(initial_alphabet)})
        roles = {"eos_token": names[0]} if names else {}
    if eos_token is not None:
        roles["eos_token"] = eos_token
    recipe.check_vocab_size(vocab_size)
    # Elsewhere the bars of `tokenizers` are nothing but empty lines.
    trainer = recipe.trainer(vocab_size, min_frequency, show_progress and sys.stderr.isatty())
    num_texts = len(documents) if hasattr(documents, "__len__") else None
    try:
        recipe.tokenizer.train_from_iterator(texts, trainer=trainer, length=num_texts)
    except BaseException as error:
        texts.raise_failure()
        if type(error).__name__ == "PanicException":  # no Exception: see gristmill.reference
            raise TokenizerError(f"the installed tokenizers failed in training: {error}") from None
        raise
    texts.raise_failure()
    if texts.num_good == 0:
        raise EmptyCorpusError(
            f"{texts.source}: no text to train on (read {texts.num_bad} rows, all of them skipped; "
            "expected at least one text)"
        )
    if texts.num_bad:
        _logger.warning("%s: %d rows that are no text were skipped", texts.source, texts.num_bad)
    return Tokenizer(recipe.finish(), roles, "trained tokenizer")


class _Texts:
    """The good texts of a corpus, in lists. Remembers what stopped it: `tokenizers` would lose its class."""

    def __init__(self, documents: object, text_column: str, skip_bad: bool) -> None:
        self._batches = iter_batches(documents, text_column, _BATCH_DOCUMENTS)
        self._skip_bad = skip_bad
        self._failure: BaseException | None = None
        self.num_good = self.num_bad = 0
        self.source = "corpus"

    def __iter__(self) -> Iterator[list[str]]:
        try:
            for batch in self._batches:
                self.source = batch.source
                try:
                    good, bad = good_texts(batch.texts, self._skip_bad)
                except BadDocumentError as error:
                    raise BadDocumentError(batch.source, batch.first_row + error.row, error.reason) from None
                self.num_good += len(good)
                self.num_bad += len(bad)
                yield good
        except GeneratorExit:
            raise
        except BaseException as error:
            self._failure = error
            raise

    def raise_failure(self) -> None:
        """Raise what stopped the iteration, if anything did."""
        if self._failure is not None:
            raise self._failure


class _Recipe:
    """An untrained pipeline, what its trainer has to know, and a post-processor to put back."""

    def __init__(
        self,
        tokenizer: tokenizers.Tokenizer,
        special_tokens: Sequence[str | AddedToken],
        options: dict[str, Any],
        post_processor: dict[str, Any] | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.special_tokens = special_tokens
        self.options = options
        self.post_processor = post_processor

    def check_vocab_size(self, vocab_size: int) -> None:
        """Refuse a size that the tokens known before training do not fit in."""
        alphabet = set(self.options.get("initial_alphabet", ()))
        special = {str(getattr(token, "content", token)) for token in self.special_tokens} - alphabet
        needed = len(alphabet) + len(special)
        if vocab_size < needed:
            raise ConfigError(
                f"vocab_size is {vocab_size} (expected at least {needed}: an alphabet of {len(alphabet)} "
                f"and {len(special)} special tokens)"
            )

    def trainer(self, vocab_size: int, min_frequency: int, show_progress: bool) -> trainers.Trainer:
        """Return the trainer for the kind of model."""
        kind = json.loads(self.tokenizer.to_str())["model"]["type"]
        options = dict(self.options)
        if kind != "Unigram":  # its trainer knows no such limit
            options["min_frequency"] = min_frequency
        trainer: trainers.Trainer = _TRAINERS[kind](
            vocab_size=vocab_size,
            special_tokens=list(self.special_tokens),
            show_progress=show_progress,
            **options,
        )
        return trainer

    def finish(self) -> str:
        """Return the JSON of the trained tokenizer, its post-processor with the new ids in place."""
        if self.post_processor is None:
            return self.tokenizer.to_str()
        content = json.loads(self.tokenizer.to_str())
        content["post_processor"] = _with_new_ids(self.post_processor, self.tokenizer)
        return json.dumps(content, ensure_ascii=False)


def _byte_level_bpe() -> tokenizers.Tokenizer:
    """Return the pipeline of GPT-2, without a vocabulary."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _like(like: Tokenizer, more_special_tokens: list[str]) -> _Recipe:
    """Return the pipeline of a tokenizer without its vocabulary, as `train_new_from_iterator` does."""
    content = json.loads(like.to_tokenizers().to_str())  # every field present, whatever the file left out
    added = content.pop("added_tokens")
    post_processor = content.pop("post_processor")
    model = content["model"]
    kind = model["type"]
    if kind not in _TRAINERS:
        raise TokenizerError(
            f"a model of type {kind!r} cannot be trained (expected one of {list(_TRAINERS)})"
        )
    options: dict[str, Any] = {}
    if kind == "Unigram":
        if model["unk_id"] is not None:
            options["unk_token"] = model["vocab"][model["unk_id"]][0]
            model |= {"unk_id": 0, "vocab": [[options["unk_token"], 0.0]]}
    else:
        model["vocab"] = {}
    if kind == "BPE":
        model["merges"] = []
        affixes = ("continuing_subword_prefix", "end_of_word_suffix")
        options |= {affix: model[affix] for affix in affixes if model[affix] is not None}
    if _is_byte_level(content["pre_tokenizer"]):
        options["initial_alphabet"] = list(BYTE_CHARACTERS)
    # Added tokens that are not special belong to the old vocabulary; Unigram files mark few as special.
    kept = [entry for entry in added if entry["special"] or kind == "Unigram"]
    special = [
        AddedToken(**{key: value for key, value in entry.items() if key not in ("id", "special")})
        for entry in kept
    ]
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps(content))
    return _Recipe(tokenizer, [*special, *more_special_tokens], options, post_processor)


def _is_byte_level(pre_tokenizer: dict[str, Any] | None) -> bool:
    if pre_tokenizer is None:
        return False
    parts = pre_tokenizer.get("pretokenizers", [pre_tokenizer])
    return any(part["type"] == "ByteLevel" for part in parts)


def _with_new_ids(processor: dict[str, Any], tokenizer: tokenizers.Tokenizer) -> dict[str, Any]:
    """Return a post-processor of the old tokenizer with the ids that the new one gives its tokens."""

    def new_id(token: str) -> int:
        token_id: int | None = tokenizer.token_to_id(token)
        if token_id is None:
            raise TokenizerError(
                f"the post_processor uses the token {token!r}, which is not in the new vocabulary "
                "(expected a special token)"
            )
        return token_id

    changed = dict(processor)
    for entry in changed.get("special_tokens", {}).values():
        entry["ids"] = [new_id(token) for token in entry["tokens"]]
    for role in ("cls", "sep"):
        if role in changed:
            token, _ = changed[role]
            changed[role] = [token, new_id(token)]
    return changed
