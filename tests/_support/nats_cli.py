"""The command `nats` of NATS itself."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

_BUILT = Path(__file__).resolve().parents[2] / ".cache" / "nats-cli" / "nats"


class NatsCli:
    """Runs the command against one server."""

    def __init__(self, program: str, url: str, home: Path) -> None:
        self._program = program
        self._environment = {**os.environ, "NATS_URL": url, "HOME": str(home), "NO_COLOR": "1"}
        self._environment["XDG_CONFIG_HOME"] = str(home)  # contexts of the user are not used

    def __call__(self, *arguments: str) -> str:
        ran = subprocess.run(
            [self._program, *arguments],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr or ran.stdout
        return ran.stdout


def nats_cli(url: str, home: Path) -> NatsCli:
    """Return the command; skip the test where it was not built."""
    program = str(_BUILT) if _BUILT.exists() else shutil.which("nats")
    if program is None:
        pytest.skip("the command nats is not here: scripts/nats-cli builds it")
    return NatsCli(program, url, home)
