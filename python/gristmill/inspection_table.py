"""`TextInspection` as text: each tokenizer's stages, then all their tokens side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gristmill.byte_alphabet import readable
from gristmill.text_table import count_of, format_table

if TYPE_CHECKING:
    from gristmill.inspection import ByteEntry, Piece, TextInspection, TokenizerSplit

_BYTES_PER_ROW = 8


def format_inspection(inspection: TextInspection) -> str:
    """Lay an inspection out for reading; spans are half-open, from 0."""
    head = f"text: {inspection.num_characters:,} characters, {inspection.num_bytes:,} bytes as UTF-8"
    sections = [head, *(_stages(split) for split in inspection.splits)]
    sections.append(_tokens_side_by_side(inspection.splits, inspection.num_bytes))
    if inspection.byte_table:
        sections.append(_byte_table(inspection.byte_table))
    return "\n\n".join(sections)


def aligned_rows(splits: Sequence[TokenizerSplit], num_bytes: int) -> list[tuple[int, int, list[list[int]]]]:
    """Cut the text where all tokenizers cut it; give for each stretch the tokens of every tokenizer.

    Returns:
        `(first_byte, end_byte, [indices of the tokens of each tokenizer])`, in the order of the text. A
        token without bytes belongs to the stretch before it (or the first one).

    Example:
        >>> from gristmill import inspect_text
        >>> splits = inspect_text([tokenizer, tokenizer], "def f").splits
        >>> aligned_rows(splits, 5)
        [(0, 3, [[0], [0]]), (3, 5, [[1], [1]])]
    """
    common = {num_bytes}
    for number, split in enumerate(splits):
        # A boundary is where no token reaches across; blanks that a tokenizer drops lie in no token.
        inside = {byte for token in split.tokens for byte in range(token.bytes[0] + 1, token.bytes[1])}
        ends = {token.bytes[1] for token in split.tokens} - inside
        common = ends if number == 0 else common & (ends | {num_bytes})
    ends_in_order = sorted(common | {num_bytes})
    if ends_in_order[0] == 0 and num_bytes:
        ends_in_order = ends_in_order[1:]
    rows: list[tuple[int, int, list[list[int]]]] = []
    start = 0
    places = [0] * len(splits)
    for end in ends_in_order:
        columns: list[list[int]] = []
        for number, split in enumerate(splits):
            first = places[number]
            while places[number] < len(split.tokens) and split.tokens[places[number]].bytes[1] <= end:
                places[number] += 1
            columns.append(list(range(first, places[number])))
        rows.append((start, end, columns))
        start = end
    return rows


def _stages(split: TokenizerSplit) -> str:
    if split.normalizer is None:
        normalizer = "none: the text is left as it is"
    else:
        normalizer = f"{split.normalizer}: {_quoted(split.normalized)}"
    pieces = [["piece", "characters", "bytes", "as the model sees it"]]
    pieces += [_piece_row(piece) for piece in split.pieces]
    pre_tokenizer = split.pre_tokenizer or "none: all is one piece"
    lines = [
        split.name,
        f"  engine         {split.engine}: {split.engine_reason}",
        f"  normalizer     {normalizer}",
        f"  pre-tokenizer  {pre_tokenizer}, {count_of(len(split.pieces), 'piece')}",
        f"  model          {split.model}, {count_of(len(split.tokens), 'token')}",
        f"  spans          {split.span_rule}",
        *("    " + line for line in format_table(pieces, "<>><").splitlines()),
    ]
    return "\n".join(lines)


def _piece_row(piece: Piece) -> list[str]:
    spelled = f"{piece.spelled}  (an added token)" if piece.is_added_token else piece.spelled
    return [_quoted(piece.text), _span(piece.characters), _span(piece.bytes), readable(spelled.encode())]


def _tokens_side_by_side(splits: Sequence[TokenizerSplit], num_bytes: int) -> str:
    header = ["bytes"]
    for split in splits:
        header += ["id", split.name]
    rows = [header]
    for start, end, columns in aligned_rows(splits, num_bytes):
        for line in range(max(map(len, columns), default=0)):
            row = [_span((start, end)) if line == 0 else ""]
            for split, column in zip(splits, columns, strict=True):
                token = split.tokens[column[line]] if line < len(column) else None
                row += ["", ""] if token is None else [str(token.id), f"'{token.text}'"]
            rows.append(row)
    rows.append(["tokens", *(cell for split in splits for cell in (f"{len(split.tokens):,}", ""))])
    title = "tokens, cut where all tokenizers cut" if len(splits) > 1 else "tokens"
    return "\n".join(
        [title, *("  " + line for line in format_table(rows, ">" + "><" * len(splits)).splitlines())]
    )


def _byte_table(table: Sequence[ByteEntry]) -> str:
    cells = [
        f"{entry.byte:02x} {entry.character}{f' ×{entry.count}' if entry.count else ''}" for entry in table
    ]
    rows = [cells[first : first + _BYTES_PER_ROW] for first in range(0, len(cells), _BYTES_PER_ROW)]
    title = "bytes as a byte-level vocabulary spells them (× how often the text has them)"
    return "\n".join([title, *("  " + line for line in format_table(rows).splitlines())])


def _quoted(text: str) -> str:
    return f"'{readable(text.encode())}'"


def _span(span: tuple[int, int]) -> str:
    return f"{span[0]}–{span[1]}"
