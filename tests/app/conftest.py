"""A folder of its own for each test, recordings and strategies in it, and the command line in this process."""

import os
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from app.place import Place
from app.support import BUYER, Outcome, Xtalgo, quotes_text, write
from live.hosting import TOKEN

from xtalgo.app import operator, rpc
from xtalgo.app.cli import main


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, and no settings from the environment."""
    for name in list(os.environ):
        if name.startswith(("XTALGO_", "XTRADE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / ".state"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / ".data"))
    for name in ("FORCE_COLOR", "COLUMNS", "PYTHONIOENCODING"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def xtalgo(capsys: pytest.CaptureFixture[str]) -> Xtalgo:
    """Runs a command line in this process."""

    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


@pytest.fixture
def es(folder: Path) -> Path:
    """A recording of ES 06-26."""
    return write(folder, "es.csv", quotes_text())


@pytest.fixture
def buyer(folder: Path) -> Path:
    """A strategy that buys at the fifth quote and closes at the twentieth."""
    return write(folder, "buyer.py", BUYER)


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Place:
    """A server that commands by hand reach, and the token in the environment."""
    found = Place()

    class Logged(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            return await found.handle(request)

    class Near(operator.OperatorClient):
        def __init__(self, url: str, token: Any, *, within: float) -> None:
            super().__init__(url, token, within=within, transport=Logged())

    monkeypatch.setattr(operator, "OperatorClient", Near)
    monkeypatch.setattr(rpc, "dialer", found.dialer)
    monkeypatch.setattr(trio, "run", found.run)
    monkeypatch.setenv("XTRADE_TOKEN", TOKEN)
    monkeypatch.setenv("XTALGO_URL", "ws://localhost/ws/stream")
    return found
