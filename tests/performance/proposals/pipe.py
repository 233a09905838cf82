"""Another environment's process that is asked in lines of JSON: rivals whose packages clash with ours."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Mapping
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
SERVERS = Path(__file__).parent / "servers"
LIMIT = 600.0  # seconds for one answer


class Pipe:
    """A server that answers each line, one JSON object, with one.

    python: the interpreter of its environment. limit: seconds after which an answer is no longer waited for.
    """

    def __init__(self, python: Path, script: Path, *, limit: float = LIMIT) -> None:
        self._name, self._limit, self._late = script.stem, limit, False
        command = [str(python), str(script)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def send(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """The answer. Raises RuntimeError where the server ends before it answers, or takes too long."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        timer = threading.Timer(self._limit, self._end)
        timer.start()
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        finally:
            timer.cancel()
        if not line:
            if self._late:
                raise RuntimeError(f"{self._name} gave no answer within {self._limit:g} s")
            raise RuntimeError(f"{self._name} ended with code {self._process.wait()}; its errors are above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process.wait(timeout=60)

    def _end(self) -> None:
        self._late = True
        self._process.kill()


def interpreter(environment: str) -> Path:
    """The Python of a rival's environment, which `make rivals` sets up in .venv-NAME."""
    return ROOT / f".venv-{environment}" / "bin" / "python"


def installed_version(environment: str, package: str) -> str:
    """A package's version in a rival's environment. Raises ValueError where it is not there."""
    places = [str(path) for path in (ROOT / f".venv-{environment}").glob("lib/python*/site-packages")]
    for found in distributions(name=package, path=places):
        return found.version
    raise ValueError(f"{package} is not installed in .venv-{environment}; run `make rivals`")
