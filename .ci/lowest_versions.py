"""The lowest versions that `setup.cfg` allows, as constraints for pip: `package==version`, one a line.

Only what users install is pinned; tools that only tests need stay as new as they are.
"""

from __future__ import annotations

import configparser
import re
from pathlib import Path

SETUP = Path(__file__).resolve().parent.parent / "setup.cfg"


def lowest(requirements: str) -> list[str]:
    """`package==version` for each requirement with a lower bound."""
    found = re.findall(r"^([\w.-]+)>=([\w.]+)", requirements.strip(), re.MULTILINE)
    return [f"{name}=={version}" for name, version in found]


def main() -> None:
    """Print the constraints of the package itself."""
    config = configparser.ConfigParser()
    config.read(SETUP)
    print("\n".join(lowest(config["options"]["install_requires"])))


if __name__ == "__main__":
    main()
