"""Count the parameters of every network of the zoo and write manifests/generated/sizes.yaml.

python .ci/write_sizes.py          # count the networks that the file does not have yet
python .ci/write_sizes.py --all    # count all of them again
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

import zoo
from zoo.errors import BuildError
from zoo.manifest import api

FILE = Path(__file__).resolve().parents[1] / "manifests" / "generated" / "sizes.yaml"
HEAD = """\
# yaml-language-server: $schema=schema.json
# Parameters of each network, counted by building it: python .ci/write_sizes.py
# tests/zoo/models/test_architectures.py holds some of them to it.
schema: 1

parameters:
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Write manifests/generated/sizes.yaml.")
    parser.add_argument("--all", action="store_true", help="count every network again")
    again = parser.parse_args().all
    known = {} if again else {name: stated.value for name, stated in api.catalog().parameters.items()}
    sizes = {name: known.get(name) or count(name) for name in sorted(api.catalog().architectures)}
    FILE.write_text(HEAD + "".join(f"  {name}: {size}\n" for name, size in sizes.items()))


def count(name: str) -> int:
    """The number of parameters of a network, built without the work of initializing where possible."""
    try:
        with torch.device("meta"):
            network = zoo.build(name)
    except (NotImplementedError, BuildError):  # some constructors compute with numbers
        network = zoo.build(name)
    return sum(parameter.numel() for parameter in network.parameters())


if __name__ == "__main__":
    main()
