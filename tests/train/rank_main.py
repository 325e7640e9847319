"""A rank that torchrun starts, with a fault: `torchrun -m tests.train.rank_main '{"arguments": []}'`."""

from __future__ import annotations

import json
import os
import sys

from tests.train.scenarios import run_main

code = run_main(**json.loads(sys.argv[1]))
sys.stdout.flush()
os._exit(code)
