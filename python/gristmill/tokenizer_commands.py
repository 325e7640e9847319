"""`gristmill tokenizer inspect|compare|advise`: parses and prints, no logic."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

TOKENIZER_HELP = (
    "a folder, a tokenizer.json, hub:OWNER/NAME, or gpt2 (from the hub); NAME=PLACE gives it a name"
)


def add_inspect(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `inspect`."""
    parser.add_argument("tokenizers", nargs="+", metavar="TOKENIZER", help=TOKENIZER_HELP)
    text = parser.add_mutually_exclusive_group(required=True)
    text.add_argument("--text", help="the text to split")
    text.add_argument("--file", metavar="PATH", help="a file whose text is split; - reads the standard input")
    parser.add_argument(
        "--whole-byte-table", action="store_true", help="list all 256 bytes, also those the text lacks"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_inspect)


def _inspect(options: argparse.Namespace) -> int:
    from gristmill.inspection import inspect_text
    from gristmill.tokenizer_loading import load_named_tokenizers

    text: str | bytes = options.text
    if options.file is not None:
        text = sys.stdin.buffer.read() if options.file == "-" else Path(options.file).read_bytes()
    named = load_named_tokenizers(options.tokenizers)
    inspection = inspect_text(named, text, whole_byte_table=options.whole_byte_table)
    print_result(inspection, options.json)
    return 0


def add_metric_options(parser: argparse.ArgumentParser) -> None:
    """Add what `measure` and `compare` have in common; `metric_options` reads it."""
    parser.add_argument("--num-threads", type=int, default=None, help="threads (default: one a core)")
    parser.add_argument(
        "--rare-below", type=int, default=10, help="tokens seen fewer times are rare (default: 10)"
    )
    parser.add_argument(
        "--noise",
        action="append",
        default=[],
        metavar="NOISE",
        help="misspelling, case, whitespace or homoglyphs: what it changes, give it again for more; or all",
    )
    parser.add_argument(
        "--noise-rate", type=float, default=0.1, help="share of words that a noise changes (default: 0.1)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of noise and intervals (default: 0)")
    parser.add_argument(
        "--reference", metavar="TOKENIZER", help="sequence lengths are normalized by those of this tokenizer"
    )
    parser.add_argument(
        "--parallel-to",
        action="append",
        metavar="INPUT",
        help="the same documents in the reference language, one for one: parity is measured",
    )
    add_html(parser)


def add_html(parser: argparse.ArgumentParser) -> None:
    """Add `--html`."""
    parser.add_argument(
        "--html", type=Path, metavar="FILE", help="write one page with plots, which needs no network"
    )


def check_html(path: Path | None) -> None:
    """Refuse a page that could not be written, before the work is done.

    Raises:
        OSError: it is a folder, or there is none for it.
    """
    if path is not None:
        from gristmill.report_page import check_page_path

        check_page_path(path)


def add_overwrite(parser: argparse.ArgumentParser) -> None:
    """Add `--overwrite`, for commands with `--output`; `check_output` reads both."""
    parser.add_argument(
        "--overwrite", action="store_true", help="write over the tokenizer that --output already holds"
    )


def check_output(options: argparse.Namespace) -> None:
    """Refuse a file as the folder of a tokenizer, and a folder that holds one, unless told to write over it.

    Raises:
        ConfigError: `--output` is a file, or holds a tokenizer and `--overwrite` is not given.
    """
    from gristmill.errors import ConfigError
    from gristmill.tokenizer_file import TOKENIZER_FILE

    output: Path = options.output
    if output.exists() and not output.is_dir():
        raise ConfigError(f"--output is {str(output)!r}, a file (expected a folder, or a new name)")
    if (output / TOKENIZER_FILE).exists() and not options.overwrite:
        raise ConfigError(
            f"--output is {str(output)!r}, which holds a tokenizer (expected another folder, or --overwrite)"
        )


def metric_options(options: argparse.Namespace) -> dict[str, Any]:
    """Return what `add_metric_options` has read, as arguments of `measure_tokenizer`."""
    from gristmill.documents import DocumentFiles
    from gristmill.tokenizer_loading import load_tokenizer

    return {
        "num_threads": options.num_threads,
        "on_bad": options.on_bad,
        "rare_below": options.rare_below,
        "noises": tuple(options.noise),
        "noise_rate": options.noise_rate,
        "seed": options.seed,
        "reference": options.reference and load_tokenizer(options.reference),
        "reference_name": options.reference or "",
        "parallel_to": options.parallel_to and DocumentFiles(options.parallel_to, options.text_column),
    }


def add_compare(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `compare` that are its own; the inputs come from the caller."""
    parser.add_argument(
        "--tokenizer",
        action="append",
        required=True,
        metavar="TOKENIZER",
        help=f"{TOKENIZER_HELP}; give it again for each tokenizer",
    )
    parser.add_argument(
        "--each-input",
        action="store_true",
        help="compare one tokenizer on the inputs, each of them a corpus of its own",
    )
    add_metric_options(parser)
    parser.set_defaults(run=_compare)


def _compare(options: argparse.Namespace) -> int:
    from gristmill.comparison import compare_tokenizers
    from gristmill.documents import DocumentFiles
    from gristmill.errors import ConfigError
    from gristmill.tokenizer_loading import load_named_tokenizers

    if len(options.tokenizer) < 2 and not options.each_input:
        raise ConfigError("one --tokenizer alone (expected two or more, or --each-input and several inputs)")
    if len(options.inputs) < 2 and options.each_input:
        raise ConfigError("--each-input with one input (expected two or more, each a corpus)")
    check_html(options.html)
    tokenizers = load_named_tokenizers(options.tokenizer)
    corpora: dict[str, object]
    if options.each_input:
        corpora = {item: DocumentFiles([item], options.text_column) for item in options.inputs}
        documents: object = corpora
    else:
        documents = DocumentFiles(options.inputs, options.text_column)
        corpora = {documents.source_name: documents}
    comparison = compare_tokenizers(tokenizers, documents, **metric_options(options))
    if options.html is not None:
        from gristmill.report_page import write_report_page

        write_report_page(
            options.html,
            comparison,
            tokenizers,
            corpora,
            num_threads=options.num_threads,
            on_bad=options.on_bad,
        )
    print_result(comparison, options.json)
    return 0


def add_advise(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `advise` that are its own; the inputs come from the caller."""
    parser.add_argument(
        "--tokenizer",
        action="append",
        default=[],
        metavar="TOKENIZER",
        help=f"one to compare with: {TOKENIZER_HELP}; may be given again",
    )
    parser.add_argument(
        "--vocab-sizes",
        type=_sizes,
        default=None,
        metavar="N,N,...",
        help="sizes to measure (default: 512 to 65536, each twice the one before)",
    )
    parser.add_argument(
        "--measure-on",
        nargs="+",
        default=None,
        metavar="INPUT",
        help="other files to measure on (default: a tenth of the documents, left out of the training)",
    )
    parser.add_argument(
        "--minimum-saving",
        type=float,
        default=0.05,
        metavar="SHARE",
        help="take the size whose next doubling saves less than this share of the tokens (default: 0.05)",
    )
    parser.add_argument("--n-embd", type=int, default=768, help="width of the model (default: 768)")
    parser.add_argument("--n-layer", type=int, default=12, help="layers of the model (default: 12)")
    parser.add_argument("--n-positions", type=int, default=1024, help="its context (default: 1024)")
    parser.add_argument("--num-threads", type=int, default=None, help="threads (default: one a core)")
    parser.add_argument(
        "--output", type=Path, default=None, metavar="FOLDER", help="save the tokenizer of the advised size"
    )
    add_overwrite(parser)
    add_html(parser)
    parser.set_defaults(run=_advise)


def _advise(options: argparse.Namespace) -> int:
    from gristmill.documents import DocumentFiles
    from gristmill.tokenizer_loading import load_named_tokenizers
    from gristmill.vocabulary_advice import DEFAULT_VOCAB_SIZES, ModelShape, advise_vocab_size

    shape = ModelShape(n_embd=options.n_embd, n_layer=options.n_layer, n_positions=options.n_positions)
    if options.output is not None:
        check_output(options)
    check_html(options.html)
    beside = load_named_tokenizers(options.tokenizer)
    documents = DocumentFiles(options.inputs, options.text_column)
    measured = options.measure_on and DocumentFiles(options.measure_on, options.text_column)
    advice = advise_vocab_size(
        documents,
        held_out=measured,
        vocab_sizes=options.vocab_sizes or DEFAULT_VOCAB_SIZES,
        beside=beside,
        minimum_saving=options.minimum_saving,
        shape=shape,
        num_threads=options.num_threads,
        on_bad=options.on_bad,
        show_progress=not options.json,
    )
    if options.output is not None:
        advice.tokenizer.save_pretrained(options.output)
    if options.html is not None:
        from gristmill.report_page import write_advice_page

        write_advice_page(
            options.html,
            advice,
            beside,
            documents if measured is None else measured,
            is_held_out=measured is None,
            num_threads=options.num_threads,
            on_bad=options.on_bad,
        )
    print_result(advice, options.json)
    return 0


def print_result(result: Any, as_json: bool) -> None:
    """Print a result as JSON or as its table."""
    print(json.dumps(result.to_dict(), ensure_ascii=False) if as_json else result)


def _sizes(text: str) -> list[int]:
    try:
        return [int(part.replace("_", "")) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of sizes (expected 1000,2000,...)") from None
