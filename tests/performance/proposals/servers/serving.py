"""The loop of every server: lines of JSON in, lines of JSON out. Imported in environments of other packages only."""

from __future__ import annotations

import json
import logging
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any, Protocol

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"


class Server(Protocol):
    """One study."""

    def answer(self, message: dict[str, Any]) -> dict[str, Any]:
        """What {"ask": true} or {"tell": identifier, "value": number or null} is answered by."""


def serve(open_study: Callable[[dict[str, Any]], Server]) -> None:
    """Answers until the input ends; the first line says what to optimise, and is answered by {}."""
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    sys.stdout = sys.stderr  # what the package prints is no answer
    server: Server | None = None
    for line in sys.stdin:
        message = json.loads(line)
        if server is None:
            server, answer = open_study(message), {}
        else:
            answer = server.answer(message)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
