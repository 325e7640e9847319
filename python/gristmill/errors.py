"""The exceptions of gristmill.

Every class also subclasses the built-in exception a caller would expect, so `except ValueError` keeps
working. A message says what happened, the offending value, and what was expected.
"""

from __future__ import annotations


class GristmillError(Exception):
    """Base of every exception that gristmill defines."""


class TokenizerError(GristmillError, ValueError):
    """A tokenizer cannot be read, or cannot do what is asked (no EOS token, ids out of range)."""


class UnsupportedTokenizerError(TokenizerError):
    """The own engine does not cover this tokenizer; `reason` says why (it then takes the slow road)."""


class BadDocumentError(GristmillError, ValueError):
    """A document is no valid text: null, another type, a lone surrogate, invalid UTF-8.

    Attributes:
        source: name of the corpus or file the document came from.
        row: zero-based row (document number) in that source; None for a text that stands alone.
        reason: what was found.
    """

    def __init__(self, source: str, row: int | None, reason: str) -> None:
        self.source = source
        self.row = row
        self.reason = reason
        super().__init__(self.tell('on_bad="skip"'))

    def tell(self, skipping: str) -> str:
        """Return the message, with `skipping` as the way to ask for such rows to be skipped."""
        expected = "expected a text: str, or bytes of valid UTF-8"
        if self.row is None:
            return f"{self.source}: {self.reason} ({expected})"
        advice = f"{skipping} counts such rows and goes on"
        return f"{self.source}, row {self.row}: {self.reason} ({expected}; {advice})"

    def __reduce__(self) -> tuple[type[BadDocumentError], tuple[str, int | None, str]]:
        return type(self), (self.source, self.row, self.reason)


class FileFormatError(GristmillError, ValueError):
    """A file is not in the format that its name says, or holds what its reader cannot read."""


class ArrowDataError(GristmillError, ValueError):
    """An Arrow array or stream contradicts itself, was consumed before, or failed while it was read."""


class MissingColumnError(GristmillError, KeyError):
    """A row has no column of the asked name."""

    def __str__(self) -> str:  # KeyError would show the repr of the message
        return str(self.args[0]) if self.args else ""


class TrainingMemoryError(GristmillError, MemoryError):
    """Training a tokenizer would hold more memory than `max_memory` allows."""


class EmptyCorpusError(GristmillError, ValueError):
    """A corpus holds no document."""


class SourceError(GristmillError, TypeError):
    """A source of documents is of a kind that cannot do what is asked (repeat, resume, feed workers)."""


class ConfigError(GristmillError, ValueError):
    """A configuration value is unknown or invalid."""


class ResumeError(GristmillError, ValueError):
    """A state or a run folder does not belong to this tokenizer, data set or configuration."""


class CheckpointError(GristmillError, OSError):
    """A checkpoint is missing, incomplete or damaged, or cannot be written."""


class CheckpointWriteError(CheckpointError):
    """A checkpoint cannot be written."""


class DivergedError(GristmillError, ArithmeticError):
    """A loss or a gradient of a training run is not finite any more."""


class RankError(GristmillError, RuntimeError):
    """Another rank of a training run failed, died, or did not answer in time."""


class MissingExtraError(GristmillError, ImportError):
    """An optional dependency is not installed; the message names the extra that has it."""


def require_extra(module: str, extra: str, needed_for: str) -> MissingExtraError:
    """Build the error for a missing optional dependency.

    Example:
        >>> print(require_extra("torch", "train", "model_size"))
        model_size needs the package 'torch', which is not installed: pip install 'gristmill[train]'
    """
    return MissingExtraError(
        f"{needed_for} needs the package {module!r}, which is not installed: pip install 'gristmill[{extra}]'"
    )
