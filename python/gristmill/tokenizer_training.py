"""Train a tokenizer: byte-level BPE on the own engine, every other model through the installed `tokenizers`.

                  ┌─ byte-level BPE, known pattern ──► own_training: counts, merges (Rust) ──┐
    documents ────┤                                                                          ├──► Tokenizer
                  └─ every other pipeline ───────────► checked texts ──► `tokenizers` ───────┘

`training_engine` says which road is taken, and why. Both give the same vocabulary and merges: a byte-level
BPE is a pure function of the texts and the options. (Unigram and WordPiece, which `like=` can ask for, are
not: `tokenizers` walks hash tables there, in another order each time.) Ctrl-C stops the own engine within a
second; on the other road it is noticed while texts are counted, and the merging runs to its end.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tokenizers
from tokenizers import AddedToken, decoders, models, processors, trainers

from gristmill import _native, own_training
from gristmill.byte_alphabet import BYTE_CHARACTERS
from gristmill.corpus import as_source, iter_batches
from gristmill.errors import BadDocumentError, ConfigError, EmptyCorpusError, TokenizerError
from gristmill.options import check_count
from gristmill.splitting import Splitting, pre_tokenizer_of
from gristmill.token_batch import check_num_threads, good_texts, is_skip
from gristmill.tokenizer import EngineChoice, Tokenizer
from gristmill.tokenizer_file import well_known_eos
from gristmill.training_progress import TrainingProgress

_logger = logging.getLogger("gristmill.tokenizer")

# The own engine shares a batch over its threads; `tokenizers` makes objects of all its pieces.
_BATCH_DOCUMENTS = {"gristmill": 1000, "tokenizers": 100}

# Ids are uint32, and one of them is kept for "none".
MAX_VOCAB_SIZE = (1 << 32) - 2

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
    max_token_length: int | None = None,
    splitting: Splitting | None = None,
    like: Tokenizer | None = None,
    num_threads: int | None = None,
    max_memory: int | None = None,
    show_progress: bool = True,
    on_bad: str = "error",
) -> Tokenizer:
    """Train a byte-level BPE tokenizer, or one `like` another.

    Args:
        documents: any iterable of texts (`str`, UTF-8 `bytes`), of lists of texts, or of rows with a text
            column; a `datasets` data set, streaming or not; Arrow arrays, tables and readers, which are read
            where they lie. Read once.
        vocab_size: number of tokens wanted, special tokens and alphabet included. It gets smaller where the
            corpus has no more pairs to merge.
        text_column: the column of rows that holds the text.
        min_frequency: pairs seen fewer times are not merged.
        special_tokens: tokens that no text is encoded to, unless one is a single character of the byte
            alphabet ("a"): it stays that byte's token, too. They get the first ids. `["<|endoftext|>"]` by
            default; with `like`, added to those of that tokenizer.
        eos_token: which of them follows every document; by default the one with a well-known name (as
            `Tokenizer` finds it), or else the first one; with `like`, its own.
        initial_alphabet: characters that are tokens even if the corpus lacks them, in the spelling of the
            byte alphabet. All 256 by default, so that every text can be encoded.
        splitting: how texts are cut into pieces, which no token crosses: "gpt2" (the default), "cl100k",
            "llama3", "qwen2", "o200k" or "code"; `gristmill.splitting` says what they mean. With `like`, that
            of the other tokenizer, and nothing may be given here.
        like: a tokenizer whose pipeline and special tokens are kept, while vocabulary and merges are learned
            anew, as `train_new_from_iterator` of `transformers` does. `initial_alphabet` is then not used.
        max_token_length: new tokens have fewer characters of the byte alphabet than this, those of two
            characters excepted, as `BpeTrainer` of `tokenizers` has it. For BPE alone.
        num_threads: Rust threads that count, all cores by default. The road through the installed
            `tokenizers` cannot be told a number; RAYON_NUM_THREADS sets it for the process.
        max_memory: bytes that training may hold besides a batch of documents and the tokenizer that comes
            out; no limit by default. Nothing is pruned: where it is not enough, training ends with an error.
            For the own engine alone.
        show_progress: whether to show on a terminal how far training has come: a bar where `rich` is
            installed, plain lines otherwise.
        on_bad: "error" raises at the first value that is no text, "skip" leaves such values out and logs
            how many they were.

    Ctrl-C stops the own engine within a second. On the road through the installed `tokenizers`
    (`training_engine` says which is taken) it waits for the end of the merging, which may take long.

    Returns:
        The tokenizer. For BPE, the same texts and options give the same one, whatever the number of threads;
        `like` one with `continuing_subword_prefix` or `end_of_word_suffix` excepted, where merges that are
        equally frequent may come in another order from run to run, as in `tokenizers` itself.

    Raises:
        EmptyCorpusError: there is no text in the corpus.
        BadDocumentError: a value is no text, and `on_bad` is "error".
        ConfigError: `vocab_size` cannot hold the alphabet and the special tokens, or `max_memory` or
            `max_token_length` is asked of a road that knows no such limit.
        TrainingMemoryError: training would hold more than `max_memory`.
        TokenizerError: the model of `like` cannot be trained.

    Example:
        >>> tokenizer = train_tokenizer(["def f(x):", "def g(x):"], vocab_size=262, show_progress=False)
        >>> len(tokenizer), tokenizer.tokens("def h")
        (262, ['def', 'Ġ', 'h'])
    """
    vocab_size = check_count("vocab_size", vocab_size, 1, MAX_VOCAB_SIZE)
    check_count("min_frequency", min_frequency, 0)
    threads, skip_bad = check_num_threads(num_threads), is_skip(on_bad)
    recipe, roles = _recipe(like, splitting, special_tokens, initial_alphabet)
    if eos_token is not None:
        recipe.check_eos(eos_token)
        roles["eos_token"] = eos_token
    recipe.check_vocab_size(vocab_size)
    recipe.limit_token_length(max_token_length)
    engine = recipe.engine()
    _logger.info("training by %s: %s", engine.name, engine.reason)
    texts = _Texts(documents, text_column, skip_bad, _BATCH_DOCUMENTS[engine.name])
    num_texts = len(documents) if hasattr(documents, "__len__") else None
    if engine.name == "gristmill":
        limit = None if max_memory is None else check_count("max_memory", max_memory, 0)
        trainer = recipe.new_trainer(limit)
        with TrainingProgress(show_progress, num_texts) as progress:
            texts.count(trainer, threads, progress)
            texts.check_not_empty()
            trained = recipe.learn(trainer, vocab_size, min_frequency, progress)
    else:
        if max_memory is not None:
            raise ConfigError(
                f"max_memory is {max_memory} (expected None: the installed tokenizers trains here, for it is "
                f"{engine.reason}, and knows no limit)"
            )
        trained = recipe.train(texts, vocab_size, min_frequency, show_progress, num_texts)
        texts.check_not_empty()
    if texts.num_bad:
        _logger.warning("%s: %d rows that are no text were skipped", texts.source, texts.num_bad)
    return Tokenizer(trained, roles, "trained tokenizer")


def training_engine(like: Tokenizer | None = None, *, splitting: Splitting | None = None) -> EngineChoice:
    """Return what `train_tokenizer` trains on: "gristmill" or "tokenizers", and why.

    Example:
        >>> print(training_engine())
        gristmill
    """
    recipe, _ = _recipe(like, splitting, None, ())
    return recipe.engine()


def _recipe(
    like: Tokenizer | None,
    splitting: Splitting | None,
    special_tokens: Sequence[str] | None,
    initial_alphabet: Sequence[str],
) -> tuple[_Recipe, dict[str, str]]:
    """Return what to train, and the special tokens by role."""
    names_of = special_tokens or ()
    if isinstance(names_of, str) or not all(
        isinstance(name, str | AddedToken) and str(name) for name in names_of
    ):
        raise ConfigError(
            f"special_tokens is {special_tokens!r} (expected a list of texts, none of them empty)"
        )
    contents = [str(getattr(name, "content", name)) for name in names_of]
    for number, content in enumerate(contents):
        if content in contents[:number]:
            raise ConfigError(f"special_tokens has {content!r} twice (expected each token once)")
        if any("\ud800" <= character <= "\udfff" for character in content):
            raise ConfigError(
                f"special_tokens has {content!r}, with a lone surrogate (expected valid Unicode)"
            )
    if like is not None and not isinstance(like, Tokenizer):
        raise TypeError(
            f"like is a {type(like).__name__} (expected gristmill.Tokenizer; Tokenizer.from_transformers and "
            "from_tokenizers make one)"
        )
    if like is not None and splitting is not None:
        raise ConfigError(f"splitting is {splitting!r} (expected None: `like` says how texts are cut)")
    if like is not None:
        return _like(like, list(special_tokens or ())), dict(like.roles)
    names = list(["<|endoftext|>"] if special_tokens is None else special_tokens)
    roles = {"eos_token": (well_known_eos(names) or names[0])} if names else {}
    return _Recipe(
        _byte_level_bpe(splitting or "gpt2"), names, {"initial_alphabet": list(initial_alphabet)}
    ), roles


class _Texts:
    """The good texts of a corpus, in lists. Remembers what stopped it: `tokenizers` would lose its class."""

    def __init__(self, documents: object, text_column: str, skip_bad: bool, batch_documents: int) -> None:
        source = as_source(documents, text_column)
        self._batches = iter_batches(source, text_column, batch_documents)
        self._skip_bad = skip_bad
        self._failure: BaseException | None = None
        self.num_good = self.num_bad = 0
        self.source = source.name

    def __iter__(self) -> Iterator[list[str]]:
        try:
            for batch in self._batches:
                try:
                    good, bad = good_texts(batch.texts, self._skip_bad)
                except BadDocumentError as error:
                    raise batch.bad_document(error) from None
                self.num_good += len(good)
                self.num_bad += len(bad)
                yield good
        except GeneratorExit:
            raise
        except BaseException as error:
            self._failure = error
            raise

    def count(self, trainer: _native.BpeTrainer, num_threads: int, progress: TrainingProgress) -> None:
        """Let the own engine count the pieces of all texts."""
        for batch in self._batches:
            try:
                bad = trainer.push_texts(batch.texts, num_threads, self._skip_bad)
            except BadDocumentError as error:
                raise batch.bad_document(error) from None
            self.num_bad += len(bad)
            progress.counted(trainer.counters)
        self.num_good = trainer.counters["documents"]
        progress.counted(trainer.counters, end=True)

    def check_not_empty(self) -> None:
        """Refuse to train on nothing."""
        if self.num_good == 0:
            found = f"{self.num_bad} rows, all of them skipped" if self.num_bad else "no rows"
            raise EmptyCorpusError(
                f"{self.source}: no text to train on (found {found}; expected at least one text)"
            )

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

    def check_eos(self, eos_token: object) -> None:
        """Refuse an EOS that the trained tokenizer would not have; better now than after the training."""
        special = [str(getattr(token, "content", token)) for token in self.special_tokens]
        if not isinstance(eos_token, str):
            raise TypeError(
                f"eos_token is {eos_token!r} of type {type(eos_token).__name__} (expected one of the special "
                f"tokens: {special})"
            )
        if eos_token not in special:
            raise TokenizerError(
                f"eos_token is {eos_token!r} (expected one of the special tokens: {special})"
            )

    def limit_token_length(self, max_token_length: int | None) -> None:
        """Set the option of `train_tokenizer`."""
        if max_token_length is None:
            return
        if (kind := self._content()["model"]["type"]) != "BPE":
            raise ConfigError(
                f"max_token_length is {max_token_length!r} (expected None: it is for BPE, and the model is "
                f"of type {kind!r})"
            )
        self.options["max_token_length"] = check_count("max_token_length", max_token_length, 0)

    def engine(self) -> EngineChoice:
        """Return which road trains it."""
        reason = own_training.why_not_covered(self._content(), self.options)
        if reason is None:
            return EngineChoice("gristmill", own_training.why_covered(self._content()))
        return EngineChoice("tokenizers", reason)

    def new_trainer(self, max_memory: int | None) -> _native.BpeTrainer:
        """Return the own engine's trainer for this pipeline."""
        return own_training.new_trainer(self._content(), max_memory)

    def learn(
        self,
        trainer: _native.BpeTrainer,
        vocab_size: int,
        min_frequency: int,
        progress: TrainingProgress,
    ) -> str:
        """Learn merges from what the own engine has counted; return the JSON of the trained tokenizer."""
        content = own_training.learn(
            trainer,
            self._content(),
            vocab_size,
            min_frequency,
            self.special_tokens,
            self.options.get("initial_alphabet", ()),
            self.options.get("max_token_length"),
            progress,
        )
        return self._finish(content)

    def train(
        self,
        texts: _Texts,
        vocab_size: int,
        min_frequency: int,
        show_progress: bool,
        num_texts: int | None,
    ) -> str:
        """Train through the installed `tokenizers`; return the JSON of the trained tokenizer."""
        # Where there is no terminal, its bars are nothing but empty lines.
        trainer = self._trainer(vocab_size, min_frequency, show_progress and sys.stderr.isatty())
        try:
            self.tokenizer.train_from_iterator(texts, trainer=trainer, length=num_texts)
        except BaseException as error:
            texts.raise_failure()
            if type(error).__name__ == "PanicException":  # no Exception: see gristmill.reference
                raise TokenizerError(f"the installed tokenizers failed in training: {error}") from None
            raise
        texts.raise_failure()
        return self._finish(self._content())

    def _trainer(self, vocab_size: int, min_frequency: int, show_progress: bool) -> trainers.Trainer:
        """Return the trainer for the kind of model."""
        kind = self._content()["model"]["type"]
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

    def _content(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.tokenizer.to_str())
        return content

    def _finish(self, content: dict[str, Any]) -> str:
        """Return the JSON of the trained tokenizer, its post-processor with the new ids in place."""
        if self.post_processor is not None:
            ids = {entry["content"]: entry["id"] for entry in content["added_tokens"]}
            vocabulary = content["model"]["vocab"]
            if isinstance(vocabulary, dict):
                ids |= vocabulary
            else:  # Unigram: tokens with their scores, by id
                ids |= {token: token_id for token_id, (token, _) in enumerate(vocabulary)}
            content["post_processor"] = _with_new_ids(self.post_processor, ids.get)
        return json.dumps(content, ensure_ascii=False)


def _byte_level_bpe(splitting: Splitting) -> tokenizers.Tokenizer:
    """Return the pipeline of GPT-2 with this splitting, without a vocabulary."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer_of(splitting)
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


def _with_new_ids(processor: dict[str, Any], id_of: Callable[[str], int | None]) -> dict[str, Any]:
    """Return a post-processor of the old tokenizer with the ids that the new one gives its tokens."""

    def new_id(token: str) -> int:
        token_id = id_of(token)
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
