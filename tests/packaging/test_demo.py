from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from shutil import which

import psutil
import pytest

pytestmark = pytest.mark.skipif(not which("hoopctl"), reason="hoopctl is not installed: nox -s packaging does")

LIMIT = 60.0


def start(folder: Path) -> subprocess.Popen[str]:
    environment = os.environ | {"TMPDIR": str(folder)}
    return subprocess.Popen(
        ["hoopctl", "demo", "--once"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        env=environment,
    )


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the demo puts what it needs."""
    return tmp_path_factory.mktemp("demo")


def left(folder: Path) -> list[str]:
    """What a demo left behind: its folders, and the processes that work in them."""
    running = [" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]
    return [*map(str, folder.glob("hoopctl-demo-*")), *(line for line in running if f"{folder}/hoopctl-demo-" in line)]


def test_demo_tells_its_story(folder: Path) -> None:
    """Without a terminal the demo ends 0 within its time, has shown every chapter, and leaves nothing behind."""
    demo = start(folder)
    told, _ = demo.communicate(timeout=LIMIT)
    assert demo.returncode == 0, told
    assert [line[0] for line in told.splitlines() if line[1:3] == ". "] == list("123456")
    for expected in ("Ada Okafor", "a***@example.com", "UPDATE orders", "keep-orders", ".parquet"):
        assert expected in told
    assert not left(folder)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_demo_leaves_nothing(folder: Path, how: signal.Signals) -> None:
    """Interrupted while its database and agent run, the demo ends both, removes its folders and exits 130."""
    demo = start(folder)
    assert demo.stdout is not None
    for line in demo.stdout:
        if line.startswith("1. "):
            break
    time.sleep(0.3)
    demo.send_signal(how)
    told, _ = demo.communicate(timeout=LIMIT)
    assert demo.returncode == 130, told
    assert not left(folder)
