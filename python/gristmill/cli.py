"""The command `gristmill`.

    gristmill demo                        raw text to a trained and sampled GPT-2, in minutes
    gristmill tokenizer train|measure     a byte-level BPE from files, and what it does to them
    gristmill tokenizer inspect           how tokenizers split a text, stage by stage
    gristmill tokenizer compare           several tokenizers on one corpus, or one on several
    gristmill tokenizer advise            which vocabulary size a corpus wants, and what others lose
    gristmill train --config run.yaml     one process; for more: torchrun -m gristmill.train
    gristmill generate --model FOLDER     sample from models, side by side

`tokenizer` works in the base install. A failure that gristmill foresees prints one line and ends with
status 2; an interruption ends with 130.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from gristmill import tokenizer_commands as more_commands
from gristmill.errors import BadDocumentError, EmptyCorpusError, GristmillError, require_extra

EXIT_OK = 0
EXIT_ERROR = 2
EXIT_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; give the status: 0, 2 after an error, 130 after Ctrl-C, or the command's own.

    Example:
        >>> main(["tokenizer", "measure", "no-such-folder", "README.md"])
        2
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if given[:1] == ["train"]:  # its options are the configuration's own: jsonargparse reads them
            return _train(given[1:])
        options = _build_parser().parse_args(given)
        status: int = options.run(options)
    except (GristmillError, OSError) as error:
        if isinstance(error, BrokenPipeError):  # `gristmill … | head`: the reader has enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return EXIT_OK
        told = error.tell("--on-bad skip") if isinstance(error, BadDocumentError) else error
        print(f"gristmill: error: {told}", file=sys.stderr)
        return EXIT_ERROR
    except KeyboardInterrupt:
        print("gristmill: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    return status


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gristmill", description="Raw text to a trained GPT-2.")
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    _add_demo(
        commands.add_parser(
            "demo", help="raw text to a trained and sampled GPT-2, in minutes, without a network"
        )
    )
    tokenizer = commands.add_parser("tokenizer", help="train, measure and inspect tokenizers")
    tokenizer_commands = tokenizer.add_subparsers(required=True, metavar="COMMAND")
    _add_tokenizer_train(tokenizer_commands.add_parser("train", help="train a tokenizer on files"))
    _add_tokenizer_measure(tokenizer_commands.add_parser("measure", help="measure a tokenizer on files"))
    more_commands.add_inspect(
        tokenizer_commands.add_parser("inspect", help="show how tokenizers split a text, stage by stage")
    )
    compare = tokenizer_commands.add_parser("compare", help="measure tokenizers or corpora side by side")
    _add_inputs(compare)
    more_commands.add_compare(compare)
    advise = tokenizer_commands.add_parser("advise", help="advise a vocabulary size for a corpus")
    _add_inputs(advise)
    more_commands.add_advise(advise)
    # Only for the list of commands: main() has taken `train` before.
    commands.add_parser(
        "train", help="train a GPT-2 in one process (options: gristmill train --help)", add_help=False
    )
    _add_generate(commands.add_parser("generate", help="complete prompts by trained models, side by side"))
    return parser


class _Version(argparse.Action):
    """Reads the version only when asked: it lies in the compiled module."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from gristmill import __version__

        print(f"gristmill {__version__}")
        parser.exit()


def _add_inputs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help=".py, .txt, .md, .rst, .jsonl or .parquet files, folders, or patterns in quotes",
    )
    parser.add_argument(
        "--text-column", default="text", help="column of .jsonl and .parquet files (default: text)"
    )
    parser.add_argument(
        "--on-bad", choices=("error", "skip"), default="error", help="what to do with rows that are no text"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def _add_tokenizer_train(parser: argparse.ArgumentParser) -> None:
    from gristmill.splitting import SPLITTINGS

    _add_inputs(parser)
    parser.add_argument(
        "--output", type=Path, required=True, metavar="FOLDER", help="where the tokenizer goes"
    )
    parser.add_argument(
        "--vocab-size", type=int, default=32_768, help="tokens, special ones included (default: 32768)"
    )
    parser.add_argument("--min-frequency", type=int, default=0, help="pairs seen fewer times are not merged")
    parser.add_argument(
        "--splitting",
        choices=SPLITTINGS,
        default="gpt2",
        help="how texts are cut into pieces (default: gpt2)",
    )
    more_commands.add_overwrite(parser)
    parser.set_defaults(run=_tokenizer_train)


def _tokenizer_train(options: argparse.Namespace) -> int:
    from gristmill.documents import DocumentFiles
    from gristmill.text_table import count_of
    from gristmill.tokenizer_training import train_tokenizer

    documents = DocumentFiles(options.inputs, options.text_column)
    more_commands.check_output(options)  # now, not after the training
    if not any(documents):
        raise EmptyCorpusError(
            f"{documents.source_name}: {count_of(len(documents.paths), 'file')} without any text (expected "
            "some, to train on)"
        )
    started = time.monotonic()
    tokenizer = train_tokenizer(
        documents,
        options.vocab_size,
        min_frequency=options.min_frequency,
        splitting=options.splitting,
        on_bad=options.on_bad,
        show_progress=not options.json,
    )
    tokenizer.save_pretrained(options.output)
    seconds = time.monotonic() - started
    if options.json:
        figures = {
            "output": str(options.output),
            "vocab_size": tokenizer.vocab_size,
            "asked_vocab_size": options.vocab_size,
            "seconds": round(seconds, 3),
        }
        print(json.dumps(figures | {"files": len(documents.paths)}))
    else:
        print(
            f"{options.output}: a vocabulary of {tokenizer.vocab_size:,} tokens, trained on "
            f"{count_of(len(documents.paths), 'file')} in {seconds:.1f} s"
        )
        if tokenizer.vocab_size < options.vocab_size:
            often = f" that occurs {options.min_frequency:,} times" if options.min_frequency > 1 else ""
            print(
                f"the corpus ran out of pairs to merge: {options.vocab_size:,} tokens were asked for, and "
                f"after {tokenizer.vocab_size:,} no pair{often} was left (a larger corpus gives more)"
            )
    return EXIT_OK


def _add_tokenizer_measure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("tokenizer", metavar="TOKENIZER", help="a tokenizer's folder, or its tokenizer.json")
    _add_inputs(parser)
    more_commands.add_metric_options(parser)
    parser.set_defaults(run=_tokenizer_measure)


def _tokenizer_measure(options: argparse.Namespace) -> int:
    from gristmill.documents import DocumentFiles
    from gristmill.metrics import measure_tokenizer
    from gristmill.tokenizer_loading import load_tokenizer

    documents = DocumentFiles(options.inputs, options.text_column)
    tokenizer = load_tokenizer(options.tokenizer)
    metric_options = more_commands.metric_options(options)
    more_commands.check_html(options.html)
    report = measure_tokenizer(tokenizer, documents, name=options.tokenizer, **metric_options)
    if options.html is not None:
        from gristmill.report_page import single_report, write_report_page

        write_report_page(
            options.html,
            single_report(report),
            {options.tokenizer: tokenizer},
            {documents.source_name: documents},
            num_threads=options.num_threads,
            on_bad=options.on_bad,
        )
    more_commands.print_result(report, options.json)
    return EXIT_OK


def _train(arguments: list[str]) -> int:
    try:
        from gristmill.train.__main__ import main as train_main
    except ModuleNotFoundError as error:
        raise require_extra(error.name or "torch", "train", "gristmill train") from error
    return train_main(arguments)


def _add_generate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        action="append",
        required=True,
        metavar="FOLDER",
        help="a trained model; give it twice to compare",
    )
    parser.add_argument(
        "--prompt", action="append", required=True, help="a text to complete; may be given again"
    )
    parser.add_argument(
        "--num-return-sequences", type=int, default=1, help="completions of each prompt (default: 1)"
    )
    parser.add_argument(
        "--max-new-tokens", type=int, default=None, help="tokens of a completion (default: 64, or what fits)"
    )
    parser.add_argument(
        "--temperature", type=float, default=0.8, help="0 takes the likeliest token (default: 0.8)"
    )
    parser.add_argument("--top-k", type=int, default=0, help="among the k likeliest tokens (default: 0, all)")
    parser.add_argument(
        "--top-p", type=float, default=1.0, help="among the likeliest of this mass (default: 1, all)"
    )
    parser.add_argument("--seed", type=int, default=0, help="the same seed, the same text (default: 0)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_generate)


def _generate(options: argparse.Namespace) -> int:
    from dataclasses import asdict

    from gristmill.generate import SamplingOptions, format_side_by_side, sample_text

    sampling = SamplingOptions(
        num_return_sequences=options.num_return_sequences,
        max_new_tokens=options.max_new_tokens,
        temperature=options.temperature,
        top_k=options.top_k,
        top_p=options.top_p,
        seed=options.seed,
    )
    completions = sample_text(options.model, options.prompt, sampling)
    if options.json:
        print(json.dumps([asdict(item) for item in completions], ensure_ascii=False))
    else:
        print(
            format_side_by_side(
                completions, width=os.get_terminal_size().columns if sys.stdout.isatty() else 100
            )
        )
    return EXIT_OK


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path("gristmill-demo"),
        help="where everything goes (default: gristmill-demo)",
    )
    parser.add_argument(
        "--restart", action="store_true", help="start over instead of going on from what is there"
    )
    parser.add_argument(
        "--corpus-megabytes", type=float, default=None, help="size of the corpus (default: 20)"
    )
    parser.add_argument("--vocab-size", type=int, default=None, help="tokens of the vocabulary")
    parser.add_argument("--max-steps", type=int, default=None, help="optimizer steps of the training")
    parser.set_defaults(run=_demo)


def _demo(options: argparse.Namespace) -> int:
    from gristmill.demo.flow import run_demo
    from gristmill.demo.settings import DemoSettings

    chosen = {
        name: value
        for name in ("corpus_megabytes", "vocab_size", "max_steps")
        if (value := getattr(options, name)) is not None
    }
    try:
        return run_demo(options.folder, DemoSettings(**chosen), restart=options.restart)
    except KeyboardInterrupt:
        print("stopped: the same command, without --restart, goes on from here", file=sys.stderr)
        raise
