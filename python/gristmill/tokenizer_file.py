"""What a `tokenizer.json` and the files beside it say, read and checked without encoding anything.

`Tokenizer` keeps the JSON text itself; this module answers the questions that need its parsed form: the
vocabulary with the added tokens, the special tokens by role, the fingerprint.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gristmill.errors import TokenizerError

_logger = logging.getLogger("gristmill.tokenizer")

# The roles that `transformers` knows, in its order.
ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")

# Names that end a document in published tokenizers. Where exactly one of them is a special token, it is EOS.
WELL_KNOWN_EOS = (
    "<|endoftext|>",
    "</s>",
    "<eos>",
    "<|end_of_text|>",
    "<|eot_id|>",
    "<|eos|>",
    "<EOS>",
    "[EOS]",
)

# The parts of a file that cut texts or fill them up.
_CHANGES_OF_LENGTH = ("truncation", "padding")

TOKENIZER_FILE = "tokenizer.json"
CONFIG_FILE = "tokenizer_config.json"
SPECIAL_TOKENS_FILE = "special_tokens_map.json"


def read_text(path: str | os.PathLike[str], expected: str) -> str:
    """Return the UTF-8 text of a file; whatever prevents it is a TokenizerError that names the file.

    What is no path at all is a TypeError.
    """
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path is {path!r:.100} (expected the path of {expected})")
    try:
        return Path(path).read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise TokenizerError(
            f"{path}: invalid UTF-8 at byte {error.start} (expected {expected}, which is UTF-8 text)"
        ) from error
    except (OSError, ValueError) as error:  # the latter: a NUL in the path
        raise TokenizerError(
            f"{str(path)!r}: cannot be read: {error} (expected {expected})"
            if isinstance(error, ValueError)
            else f"{path}: cannot be read: {error.strerror or error} (expected {expected})"
        ) from error


def parse_object(text: str, name: str) -> dict[str, Any]:
    """Return the JSON object in `text`; anything else is a TokenizerError that names the source."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TokenizerError(f"{name}: no JSON: {error} (expected a JSON object)") from error
    if not isinstance(value, dict):
        raise TokenizerError(f"{name}: a JSON {_json_kind(value)} (expected a JSON object)")
    return value


def has_truncation_or_padding(content: dict[str, Any], name: str) -> bool:
    """Tell whether the file stores truncation or padding, which would change ids; log that it is ignored."""
    stored = [key for key in _CHANGES_OF_LENGTH if content.get(key) is not None]
    if stored:
        _logger.warning(
            "%s: the stored %s is ignored: documents are encoded whole", name, " and ".join(stored)
        )
    return bool(stored)


def without_truncation_and_padding(text: str, name: str) -> str:
    """Return the JSON text without truncation and padding."""
    return json.dumps(parse_object(text, name) | dict.fromkeys(_CHANGES_OF_LENGTH))


def refuse_dropout(content: dict[str, Any], name: str) -> None:
    """Refuse a BPE model that draws its ids by lot."""
    model = content.get("model")
    dropout = model.get("dropout") if isinstance(model, dict) else None
    if isinstance(dropout, int | float) and dropout != 0:
        raise TokenizerError(
            f"{name}: the model has dropout {dropout} (expected none: ids would be drawn by lot)"
        )


def model_vocabulary(content: dict[str, Any]) -> dict[str, int]:
    """Return token to id of the model alone, of a file that an engine has accepted."""
    vocabulary = content["model"]["vocab"]
    if isinstance(vocabulary, dict):
        return dict(vocabulary)
    return {token: token_id for token_id, (token, _) in enumerate(vocabulary)}  # Unigram: with scores


def added_vocabulary(content: dict[str, Any], vocabulary: dict[str, int]) -> dict[str, int]:
    """Return token to id of the added tokens, with the ids that `tokenizers` gives them at load.

    Whatever id the file claims, that is the token's id in the model, else the next free one.
    """
    added: dict[str, int] = {}
    largest = -1
    for token in added_tokens(content):
        text = token["content"]
        token_id = vocabulary.get(text, added.get(text))
        if token_id is None:
            token_id = max(largest + 1, len(vocabulary))
        added[text] = token_id
        largest = max(largest, token_id)
    return added


def added_tokens(content: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the entries of the added tokens; empty ones, which `tokenizers` leaves out, left out."""
    return [token for token in content.get("added_tokens") or () if token["content"]]


def special_token_texts(content: dict[str, Any]) -> list[str]:
    """Return the texts of the added tokens that are marked special."""
    return [token["content"] for token in added_tokens(content) if token.get("special")]


def refuse_shared_ids(vocabulary: dict[str, int], name: str) -> None:
    """Refuse a vocabulary in which two tokens have the same id: decoding would lose one of them."""
    if len(set(vocabulary.values())) == len(vocabulary):
        return
    owner: dict[int, str] = {}
    for token, token_id in vocabulary.items():
        if token_id in owner:
            raise TokenizerError(
                f"{name}: the tokens {owner[token_id]!r} and {token!r} share the id {token_id} "
                "(expected one token for each id)"
            )
        owner[token_id] = token


def find_eos(content: dict[str, Any]) -> str | None:
    """Return the one special token with a well-known name, None where there is none or more than one."""
    return well_known_eos(special_token_texts(content))


def well_known_eos(tokens: Iterable[str]) -> str | None:
    """Return the one of these tokens with a well-known name, None where there is none or more than one."""
    found = [text for text in tokens if text in WELL_KNOWN_EOS]
    return found[0] if len(found) == 1 else None


def is_reachable_from_text(content: dict[str, Any], token: str) -> bool:
    """Tell whether a text can be encoded to this token, though special tokens are not looked for.

    It can where the token matches as an added token that is not special, is a single character of the
    vocabulary, or is made by a merge. This is known of BPE alone; other models are taken as safe.
    """
    if any(entry["content"] == token and not entry.get("special") for entry in added_tokens(content)):
        return True
    model = content["model"]
    if "merges" not in model or token not in model["vocab"]:
        return False
    if len(token) == 1:
        return True
    # Both parts of a merge are tokens. Mostly no cut gives two, which saves a walk over all merges.
    cuts = [(token[:place], token[place:]) for place in range(1, len(token))]
    pairs = {cut for cut in cuts if cut[0] in model["vocab"] and cut[1] in model["vocab"]}
    return bool(pairs) and not pairs.isdisjoint(merge_pairs(model))


def merge_pairs(model: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the merges of a BPE model by rank, however the file writes them (`"a b"` or `["a", "b"]`)."""
    pairs = []
    for merge in model.get("merges") or ():
        if isinstance(merge, str) and merge.startswith("#version"):
            continue
        left, right = merge.split(" ") if isinstance(merge, str) else merge
        pairs.append((left, right))
    return pairs


def read_roles(folder: Path) -> dict[str, str]:
    """Return the special tokens of a folder by role; `tokenizer_config.json` goes first."""
    roles: dict[str, str] = {}
    for file_name in (CONFIG_FILE, SPECIAL_TOKENS_FILE):
        path = folder / file_name
        if not path.exists():
            continue
        content = parse_object(read_text(path, "a JSON object"), str(path))
        for role in ROLES:
            value = content.get(role)
            text = value.get("content") if isinstance(value, dict) else value
            if text is None:
                continue
            if not isinstance(text, str):
                raise TokenizerError(
                    f"{path}: {role} is {value!r} (expected a string, or an object with the string `content`)"
                )
            roles.setdefault(role, text)
    return roles


def check_roles(roles: dict[str, str], missing: set[str], num_tokens: int, name: str) -> dict[str, str]:
    """Return the roles whose tokens are not missing. EOS and padding are used here, so theirs must exist."""
    for role in ("eos_token", "pad_token"):
        if role in missing:
            raise TokenizerError(
                f"{name}: the {role} {roles[role]!r} is not in the vocabulary "
                f"(expected one of its {num_tokens} tokens)"
            )
    if missing:
        _logger.info("%s: left out, as not in the vocabulary: %s", name, ", ".join(sorted(missing)))
    return {role: roles[role] for role in ROLES if role in roles and role not in missing}


def fingerprint(content: dict[str, Any], roles: dict[str, str]) -> str:
    """Return the SHA-256 (hex) of all that decides ids, EOS and padding, however the JSON is written."""
    canonical = {key: value for key, value in content.items() if value is not None and key != "version"}
    model = dict(canonical["model"])
    if "merges" in model:
        model["merges"] = merge_pairs(model)
    canonical["model"] = model
    if _leaves_ids_alone(canonical.get("post_processor")):
        canonical.pop("post_processor", None)
    canonical["roles"] = {role: roles[role] for role in ("eos_token", "pad_token") if role in roles}
    text = json.dumps(canonical, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _leaves_ids_alone(post_processor: dict[str, Any] | None) -> bool:
    """Tell whether a post-processor gives the text just once when no special tokens are added.

    `transformers` puts such a one where there is none.
    """
    if post_processor is None:
        return True
    kind = post_processor.get("type")
    if kind == "Sequence":
        return all(map(_leaves_ids_alone, post_processor["processors"]))
    if kind == "TemplateProcessing":
        texts = [piece["Sequence"]["id"] for piece in post_processor["single"] if "Sequence" in piece]
        return texts == ["A"]
    return kind in ("ByteLevel", "RobertaProcessing", "BertProcessing")


def _json_kind(value: object) -> str:
    kinds = {list: "array", str: "string", int: "number", float: "number", bool: "boolean"}
    return kinds.get(type(value), "null")
