"""Downloading 170 MB from a server on 127.0.0.1 against curl, hashing included.

    python -m benchmarks.perf.download [--rounds 7] [--json]

The peers take turns, and the medians are compared. Goal: at least 0.8 of curl's throughput, in constant memory: how
much more the largest download needs than one of a single block does.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median

from benchmarks.perf.printed import numbers
from zoo.download.fetch_file import obtain
from zoo.download.remote_file import RemoteFile

SIZE = 170_000_000
BLOCK = 1_000_000


class Handler(SimpleHTTPRequestHandler):
    """Sends files by `sendfile`, so that the server is not what is measured."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def copyfile(self, source, outputfile) -> None:  # type: ignore[no-untyped-def]
        """The body of a response."""
        self.wfile.flush()
        self.connection.sendfile(source)


def serve(folder: str) -> None:
    """Serve a folder until killed; prints the port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder))
    print(server.server_port, flush=True)
    server.serve_forever()


def main() -> None:
    """Measure, and print the table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve", metavar="DIR", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve(args.serve)
        return
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), args.rounds)
    print(numbers(result, args.json, width=28))


def measure(folder: Path, rounds: int) -> dict[str, object]:
    """Median MB/s of both, their ratio, and how much memory the downloads added to the process."""
    (folder / "public").mkdir()
    digests = {name: make(folder / "public" / name, size) for name, size in {"file": SIZE, "small": BLOCK}.items()}
    command = [sys.executable, "-m", "benchmarks.perf.download", "--serve", str(folder / "public")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{int(server.stdout.readline())}"
        try:
            return compare(folder, url, digests, rounds)
        finally:
            server.kill()


def make(path: Path, size: int) -> str:
    """Write random bytes; returns their SHA-256. Holding them whole would hide what a download needs."""
    digest = hashlib.sha256()
    with open(path, "wb") as file:
        for _ in range(size // BLOCK):
            file.write(block := os.urandom(BLOCK))
            digest.update(block)
    return digest.hexdigest()


def compare(folder: Path, url: str, digests: dict[str, str], rounds: int) -> dict[str, object]:
    """Take turns, after a small download that warms up."""
    ours, curls = [], []
    download(folder, f"{url}/small", digests["small"])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(rounds):
        curls.append(curl(folder, f"{url}/file"))
        ours.append(download(folder, f"{url}/file", digests["file"]))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {
        "curl, MB/s": round(SIZE / median(curls) / 1e6),
        "zoo, MB/s": round(SIZE / median(ours) / 1e6),
        "zoo / curl": round(median(curls) / median(ours), 2),
        "growth of memory, KiB": grown,
    }


def download(folder: Path, url: str, digest: str) -> float:
    """Seconds of a verified download into an empty cache."""
    os.environ["ZOO_CACHE"] = str(folder / "cache")
    shutil.rmtree(folder / "cache", ignore_errors=True)
    began = time.perf_counter()
    obtain(RemoteFile("models/file.pth", (url,), digest))
    return time.perf_counter() - began


def curl(folder: Path, url: str) -> float:
    """Seconds of curl, which neither hashes nor locks."""
    target = folder / "curl.pth"
    target.unlink(missing_ok=True)
    began = time.perf_counter()
    subprocess.run(["curl", "--silent", "--fail", "--output", str(target), url], check=True)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
