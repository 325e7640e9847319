"""The tokens of a tokenizer: their ids, the bytes they stand for, and which of them are special."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gristmill import _native, tokenizer_file as files
from gristmill.byte_alphabet import bytes_of_token
from gristmill.errors import TokenizerError


class Vocabulary:
    """The part of a `Tokenizer` that answers without encoding. Immutable.

    Attributes are read from a `tokenizer.json` that an engine has accepted; `name` is what errors call it.
    """

    def __init__(
        self,
        tokenizer_json: str,
        content: dict[str, Any],
        roles: Mapping[str, str],
        name: str,
        native: _native.Encoder | None,
    ) -> None:
        """Take what an engine has accepted.

        `content` is the parsed JSON. Where `native` has read the vocabulary and the merges, it lacks both,
        and no object is made of each token before someone asks for one.
        """
        self._json = tokenizer_json
        self._name = name
        self._encoder = native
        if native is None:
            model = files.model_vocabulary(content)
            # In the place of the property, which makes it from `native`.
            self._vocabulary = model | files.added_vocabulary(content, model)
            if not self._vocabulary:
                raise TokenizerError(f"{name}: the vocabulary is empty (expected at least one token)")
            files.refuse_shared_ids(self._vocabulary, name)
            self._vocab_size, self._num_tokens = len(model), len(self._vocabulary)
            self._max_token_id = max(self._vocabulary.values())
        else:
            self._vocab_size, self._num_tokens = native.num_model_tokens, native.num_tokens
            self._max_token_id = native.max_token_id
        roles = dict(roles)
        if "eos_token" not in roles and (found := files.find_eos(content)) is not None:
            roles["eos_token"] = found
        ids = {role: self._find(token) for role, token in roles.items()}
        missing = {role for role, token_id in ids.items() if token_id is None}
        self._roles = files.check_roles(roles, missing, self._num_tokens, name)
        self._role_ids = {role: token_id for role, token_id in ids.items() if token_id is not None}
        self._special_tokens = frozenset(files.special_token_texts(content)) | set(self._roles.values())
        self._eos_in_text = self._is_eos_reachable(content)
        self._is_byte_level = _keeps_bytes(content)
        self._unk_token_id = self._find_unknown(content["model"])

    @cached_property
    def _vocabulary(self) -> dict[str, int]:
        """Token to id, added tokens included."""
        if self._encoder is None:  # it was set when the object was made
            raise AttributeError("_vocabulary")
        tokens = enumerate(self._encoder.tokens())
        return {token: token_id for token_id, token in tokens if token is not None}

    @cached_property
    def _token_of_id(self) -> dict[int, str]:
        return {token_id: token for token, token_id in self._vocabulary.items()}

    @cached_property
    def _special_ids(self) -> list[int]:
        return [self._vocabulary[token] for token in self._special_tokens]

    def _find(self, token: str) -> int | None:
        """Return the id of a token without an object for each of the others."""
        return self._vocabulary.get(token) if self._encoder is None else self._encoder.token_id(token)

    def _is_eos_reachable(self, content: dict[str, Any]) -> bool:
        eos_token_id = self.eos_token_id
        if eos_token_id is None:
            return False
        if self._encoder is None:
            return files.is_reachable_from_text(content, self._roles["eos_token"])
        return self._encoder.is_reachable(eos_token_id)

    def token_to_id(self, token: str) -> int | None:
        """Return the id of a token as the vocabulary spells it, None where there is none.

        Example:
            >>> tokenizer.token_to_id("Ġf"), tokenizer.token_to_id(" f")
            (263, None)
        """
        return self._vocabulary.get(token)

    def id_to_token(self, token_id: int) -> str | None:
        """Return the token of an id as the vocabulary spells it, None where there is none.

        Example:
            >>> tokenizer.id_to_token(266), tokenizer.id_to_token(10_000)
            ('def', None)
        """
        return self._token_of_id.get(token_id)

    def get_vocab(self) -> dict[str, int]:
        """Return a copy of the vocabulary, token to id, added tokens included.

        Example:
            >>> tokenizer.get_vocab()["<|endoftext|>"]
            0
        """
        return dict(self._vocabulary)

    @property
    def vocab_size(self) -> int:
        """Number of tokens of the model, added ones that it does not have left out (as in `transformers`)."""
        return self._vocab_size

    def __len__(self) -> int:
        """Return the number of tokens, added ones included."""
        return self._num_tokens

    @property
    def max_token_id(self) -> int:
        """The largest id; a model needs `max_token_id + 1` rows."""
        return self._max_token_id

    @property
    def id_dtype(self) -> np.dtype[Any]:
        """The type of ids: uint16 where the largest id fits, else uint32."""
        return np.dtype(np.uint16 if self._max_token_id <= 0xFFFF else np.uint32)

    @property
    def roles(self) -> dict[str, str]:
        """The special tokens by role, named as in `transformers`: "eos_token", "pad_token" and so on."""
        return dict(self._roles)

    @property
    def special_tokens(self) -> frozenset[str]:
        """The texts of all special tokens."""
        return self._special_tokens

    @property
    def eos_token(self) -> str | None:
        """The token that follows every document, None where there is none."""
        return self._roles.get("eos_token")

    @property
    def eos_token_id(self) -> int | None:
        """Id of the EOS token, None where there is none."""
        return self._role_id("eos_token")

    @property
    def bos_token_id(self) -> int | None:
        """Id of the token that begins a text, None where there is none."""
        return self._role_id("bos_token")

    @property
    def pad_token(self) -> str | None:
        """The padding token, None where there is none."""
        return self._roles.get("pad_token")

    @property
    def pad_token_id(self) -> int | None:
        """Id of the padding token, None where there is none."""
        return self._role_id("pad_token")

    @property
    def unk_token_id(self) -> int | None:
        """Id that the model gives to what it does not know, None where it knows every text."""
        return self._unk_token_id

    def require_eos(self) -> int:
        """Return the EOS id.

        Raises:
            TokenizerError: there is no EOS token, or a text can be encoded to it, so that it would not tell
                where documents end.

        Example:
            >>> tokenizer.require_eos()
            0
        """
        eos_token_id = self.eos_token_id
        if eos_token_id is None:
            special = ", ".join(map(repr, sorted(self._special_tokens)[:8])) or "none"
            raise TokenizerError(
                f"{self._name}: the tokenizer has no EOS token (expected one, given as eos_token=...; "
                f"its special tokens: {special})"
            )
        if self._eos_in_text:
            raise TokenizerError(
                f"{self._name}: texts can be encoded to the EOS token {self.eos_token!r} "
                "(expected a token that no text has, such as a special one)"
            )
        return eos_token_id

    def token_byte_lengths(self) -> NDArray[np.int32] | None:
        """Return how many UTF-8 bytes of text each id stands for: `(max_token_id + 1,)`, int32, read-only.

        Special tokens, EOS among them, and ids without a token stand for 0 bytes. None where tokens stand for
        no fixed number of bytes: the model is not byte-level, or texts are changed before it sees them.

        Example:
            >>> tokenizer.token_byte_lengths()[tokenizer.encode("def f<|endoftext|>")].sum()
            np.int64(18)
        """
        return self._byte_lengths

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of all that decides ids, EOS and padding; the same however the JSON is written."""
        return files.fingerprint(self.parsed_json(), self._roles)

    def parsed_json(self) -> dict[str, Any]:
        """Return the parsed `tokenizer.json`, a new object each time."""
        return files.parse_object(self._json, self._name)

    def to_str(self) -> str:
        """Return the text of the `tokenizer.json`."""
        return self._json

    def checked_ids(self, ids: Sequence[int] | NDArray[Any]) -> NDArray[Any]:
        """Return ids as an array of `id_dtype`.

        Raises:
            TokenizerError: an id is not in the vocabulary, or they are no single sequence of integers.
        """
        if hasattr(ids, "cpu"):  # a torch tensor, which may lie on another device
            ids = ids.cpu()
        try:
            array = np.asarray(ids)
        except ValueError:  # a ragged list
            array = np.asarray(ids, dtype=object)
        if array.ndim == 1 and array.size == 0:
            return np.empty(0, dtype=self.id_dtype)
        if array.ndim == 1 and array.dtype.kind == "O":  # integers that fit no type of numpy
            for place, value in enumerate(array.tolist()):
                if type(value) is int and not 0 <= value <= self._max_token_id:
                    raise TokenizerError(self._unknown_id(value, place))
        if array.ndim != 1 or array.dtype.kind not in "iu":
            raise TokenizerError(
                f"ids have the shape {array.shape} and the type {array.dtype} "
                "(expected one sequence of integers)"
            )
        unknown = (array < 0) | (array > self._max_token_id)
        if len(self) <= self._max_token_id and not unknown.any():  # some ids have no token
            unknown = ~np.isin(array, list(self._token_of_id))
        if unknown.any():
            place = int(np.argmax(unknown))
            raise TokenizerError(self._unknown_id(int(array[place]), place))
        return array.astype(self.id_dtype)

    def _unknown_id(self, value: int, place: int) -> str:
        return (
            f"id {value} at position {place} is not in the vocabulary "
            f"(expected one of its {len(self)} ids, the largest is {self._max_token_id})"
        )

    @cached_property
    def _byte_lengths(self) -> NDArray[np.int32] | None:
        if not self._is_byte_level:
            return None
        lengths = np.zeros(self._max_token_id + 1, dtype=np.int32)
        added = {entry["content"] for entry in files.added_tokens(self.parsed_json())}
        for token, token_id in self._vocabulary.items():
            if token not in self._special_tokens:
                # an added token matches as it is written, the model's own are spelt in the byte alphabet
                lengths[token_id] = len(token.encode() if token in added else bytes_of_token(token))
        lengths.flags.writeable = False
        return lengths

    def _role_id(self, role: str) -> int | None:
        return self._role_ids.get(role)

    def _find_unknown(self, model: dict[str, Any]) -> int | None:
        if model.get("type") == "Unigram":
            unknown_id: int | None = model.get("unk_id")
            return unknown_id
        unknown = model.get("unk_token")
        return self._find(unknown) if isinstance(unknown, str) else None


def _keeps_bytes(content: dict[str, Any]) -> bool:
    """Tell whether the model sees the bytes of a text as they are, each spelt as one character."""
    pre_tokenizer = content.get("pre_tokenizer") or {}
    parts = pre_tokenizer.get("pretokenizers", [pre_tokenizer])
    byte_level = [part for part in parts if part.get("type") == "ByteLevel"]
    return (
        content.get("normalizer") is None
        and (content.get("decoder") or {}).get("type") == "ByteLevel"
        and content["model"].get("unk_token") is None
        and len(byte_level) == 1
        # what a file leaves out is true by default
        and not byte_level[0].get("add_prefix_space", True)
        # an added token may take the white space around it
        and not any(
            entry.get("lstrip") or entry.get("rstrip")
            for entry in files.added_tokens(content)
            if not entry.get("special")
        )
    )
