"""The command line of benchmarks on real images."""

from __future__ import annotations

import argparse
from pathlib import Path


def arguments(description: str | None, **numbers: float) -> argparse.Namespace:
    """Read the command line: ``raw``, a folder with a source's files, and some numbers.

    Args:
        description: what ``--help`` says, as it is.
        numbers: names and defaults, whose type each keeps.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--raw", type=Path, required=True, help="folder with the source's files")
    for name, default in numbers.items():
        parser.add_argument(
            f"--{name}", type=type(default), default=default, help=f"{default} if left out"
        )
    return parser.parse_args()
