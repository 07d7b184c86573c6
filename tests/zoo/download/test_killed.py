"""Processes that are killed, and processes that compete."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time

from tests.zoo.download.conftest import CONTENT, SHA256
from tests.zoo.download.server import slow
from zoo.download.fetch_file import obtain

SCRIPT = """
import sys
from zoo.download.fetch_file import obtain
from zoo.download.remote_file import RemoteFile
print(obtain(RemoteFile("models/file.pth", (sys.argv[1],), sys.argv[2])), flush=True)
"""


def start(server, script=SCRIPT):
    command = [sys.executable, "-c", script, server.url(), SHA256[:8]]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=sys.path[0] or ".")


def test_a_killed_download_leaves_no_file_that_looks_whole_and_is_continued(server, remote, cache, monkeypatch):
    server.behaviors["/file.pth"] = [slow(0.004)]
    monkeypatch.setenv("PYTHONPATH", ":".join(filter(None, sys.path)))
    chance, target = random.Random(1), cache / "models" / "file.pth"
    sizes = []
    for _ in range(6):
        process = start(server)
        wait_for_request(server, len(sizes) + 1)
        time.sleep(chance.uniform(0, 0.15))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        process.stderr.close()
        assert not target.exists() or target.read_bytes() == CONTENT
        part = cache / "models" / "file.pth.part"
        sizes.append(part.stat().st_size if part.exists() else 0)
        assert not part.exists() or CONTENT.startswith(part.read_bytes())
    assert obtain(remote).read_bytes() == CONTENT
    assert sizes == sorted(sizes) and sizes[-1] > 0  # every run went on where the one before was killed


def wait_for_request(server, count):
    """Until the process has begun its download."""
    deadline = time.monotonic() + 20
    while len(server.requests) < count and time.monotonic() < deadline:
        time.sleep(0.01)


def test_many_processes_end_with_one_good_file_and_one_download(server, cache, monkeypatch):
    server.behaviors["/file.pth"] = [slow(0.002)]
    monkeypatch.setenv("PYTHONPATH", ":".join(filter(None, sys.path)))
    processes = [start(server) for _ in range(4)]
    outputs = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, outputs
    assert (cache / "models" / "file.pth").read_bytes() == CONTENT
    assert len(server.gets()) == 1


def test_without_locks_every_process_has_a_part_of_its_own(server, remote, cache, monkeypatch):
    import filelock

    def refuse(*_, **__):
        raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    assert obtain(remote).read_bytes() == CONTENT
    assert [path.name for path in (cache / "models").iterdir()] == ["file.pth"]
