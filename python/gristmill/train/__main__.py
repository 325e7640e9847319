"""`python -m gristmill.train`: what `torchrun -m gristmill.train` starts in each rank.

Exit codes: 0 finished; 75 stopped by SIGTERM or SIGINT, with a checkpoint; 2 refused (a configuration, a
folder, checkpoints, a tokenizer or a corpus that cannot be used, be it at a later row, or an extra that is
missing); 1 failed; 130 interrupted at once. torchrun itself exits with
1 whenever a rank's code is not 0, and lists the ranks' codes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from gristmill.errors import (
    BadDocumentError,
    CheckpointWriteError,
    DivergedError,
    GristmillError,
    RankError,
    require_extra,
)
from gristmill.train.arguments import parse_arguments
from gristmill.train.signals import StopFlag

EXIT_FAILED = 1
EXIT_REFUSED = 2
EXIT_INTERRUPTED = 130
# What is wrong with the run itself; every other error of gristmill is about what the run was given.
_FAILED = (CheckpointWriteError, DivergedError, RankError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a training from the command line, and return the exit code; errors are told in one line.

    Example:
        >>> main(["--training.learning_rat=1"])
        2
    """
    rank = int(os.environ.get("RANK", "0"))
    try:
        config, resume = parse_arguments(arguments)
    except SystemExit as leaving:  # --help and --print_config have printed what was asked for
        return leaving.code if isinstance(leaving.code, int) else 0
    except GristmillError as error:  # the same on every rank: one tells
        return _tell(error, EXIT_REFUSED) if rank == 0 else EXIT_REFUSED
    # from here on a signal is answered with a checkpoint, be it one of step 0
    stop = StopFlag().install()
    try:
        try:
            from gristmill.train.run import run_training
        except ModuleNotFoundError as error:
            raise require_extra(error.name or "torch", "train", "a training run") from error
        return run_training(config, resume=resume, stop=stop)
    except _FAILED as error:
        return _tell(error, EXIT_FAILED)
    except GristmillError as error:
        return _tell(error, EXIT_REFUSED)
    except OSError as error:
        return _tell(error, EXIT_FAILED)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    finally:
        stop.restore()


def _tell(error: Exception, code: int) -> int:
    rank = os.environ.get("RANK")
    where = "" if rank is None else f", rank {rank}"
    told = error.tell("--data.on_bad skip") if isinstance(error, BadDocumentError) else error
    print(f"gristmill train{where}: {type(error).__name__}: {told}", file=sys.stderr, flush=True)
    return code


if __name__ == "__main__":
    code = main()
    if code and "RANK" in os.environ:
        # Other ranks may be gone: taking the process group apart would wait for them, or abort.
        sys.stdout.flush()
        os._exit(code)
    sys.exit(code)
