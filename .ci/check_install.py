"""Does a wheel work that is installed like anybody's, not editable, in a folder with modules of the same names?

    python .ci/check_install.py            # dependencies: those of this interpreter
    python .ci/check_install.py --fresh    # all dependencies downloaded again, as a user's pip does

It builds the source distribution and from it the wheel, installs the wheel into a virtual environment of its own, and
runs every command's help, `bench demo --fast` and a sweep of one job in a folder that has a package `benchmarks/` (asv
makes one) and a file `zoo.py`, both of which fail when they are imported.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOREIGN = 'raise ImportError("this is a module of the user\'s own, not the one of detection-zoo")\n'
# Below zoo/, benchmarks/ and manifests/, every file is code or data that the commands read.
DATA = ("*.yaml", "*.json", "*.json.gz", "*.html", "*.css", "*.js", "*.safetensors", "*.pth", "py.typed")
SWEEP = "--data demo/data --limit 2"  # not timed: a busy machine makes timings void


def main() -> None:
    """Build, install, run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fresh", action="store_true", help="download the dependencies too")
    fresh = parser.parse_args().fresh
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel = build(folder)
        check_contents(wheel)
        check_commands(install(wheel, folder / "venv", fresh), users_folder(folder / "work"))
    print("the installed wheel works")


def build(folder: Path) -> Path:
    """The wheel, made from the source distribution, which is made from what git knows or would add."""
    source = folder / "source"
    listed = subprocess.check_output(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, text=True)
    for file in filter(lambda name: (ROOT / name).is_file(), listed.splitlines()):
        (source / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / file, source / file)
    run([sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", source], folder)
    (wheel,) = (folder / "dist").glob("*.whl")
    return wheel


def check_contents(wheel: Path) -> None:
    """Whether every data file of the packages is in the wheel."""
    inside = set(zipfile.ZipFile(wheel).namelist())
    folders = {"zoo": "zoo", "benchmarks": "benchmarks", "manifests": "zoo/manifests"}
    for folder, packed in folders.items():
        for path in (found for pattern in (*DATA, "*.py") for found in (ROOT / folder).rglob(pattern)):
            name = f"{packed}/{path.relative_to(ROOT / folder).as_posix()}"
            if name not in inside:
                raise SystemExit(f"{path.relative_to(ROOT)} is not in the wheel")


def install(wheel: Path, folder: Path, fresh: bool) -> Path:
    """The folder with the commands of a new virtual environment; without `fresh` it shares this one's dependencies."""
    run([sys.executable, "-m", "venv", folder], folder.parent)
    python = folder / "bin" / "python"
    if not fresh:
        site = run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], folder).strip()
        paths = dict.fromkeys([sysconfig.get_path("purelib"), *filter(lambda p: "site-packages" in p, sys.path)])
        Path(site, "dependencies.pth").write_text("\n".join(paths))
    run([python, "-m", "pip", "install", "--quiet", *([] if fresh else ["--no-deps"]), wheel], folder)
    return folder / "bin"


def users_folder(folder: Path) -> Path:
    """A folder whose modules are called like ours."""
    (folder / "benchmarks").mkdir(parents=True)
    for file in ("benchmarks/__init__.py", "benchmarks/__main__.py", "zoo.py"):
        (folder / file).write_text(FOREIGN)
    return folder


def check_commands(commands: Path, folder: Path) -> None:
    """Run the installed commands in the folder."""
    for program in ("zoo", "bench"):
        run([commands / program, "--version"], folder)
        run([commands / program, "completion", "bash"], folder)
    run([commands / "bench", "demo", "--fast", "--out", "demo"], folder)
    sweep = ["sweep", "accuracy", "demo_yolox", "--with", SWEEP, "--results", "sweep.db"]
    run([commands / "bench", *sweep], folder)
    run([commands / "bench", "report", "--results", "sweep.db"], folder)


def run(words: list[str | Path], folder: Path) -> str:
    """The standard output of a command; ends the program where it fails."""
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONSAFEPATH")}
    done = subprocess.run(list(map(str, words)), cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, words))} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return done.stdout


if __name__ == "__main__":
    main()
