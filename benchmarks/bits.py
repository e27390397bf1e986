"""Digests of every method's results, to tell whether a change of code has changed numbers.

    python benchmarks/bits.py > after.txt
    python benchmarks/bits.py --source OTHER_CHECKOUT > before.txt
    diff before.txt after.txt

Each line is one method with one set of its options: weights, state and history after two epochs of
LeNet on noise, on one thread of a CPU. Lines that agree have every bit in common, on one machine.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Read the command line and print the lines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, default=ROOT, help="the checkout whose code runs")
    source = parser.parse_args().source.resolve()
    sys.path[:0] = [str(source / "src"), str(source)]

    import torch

    from counterpoise import __file__ as code
    from counterpoise import registry

    if not Path(code).is_relative_to(source):
        sys.exit(f"error: {source} has no code of its own")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        for name in registry.names("methods"):
            for options in registry.method(name).option_sets():
                digest = digest_of(name, options, Path(folder) / "state")
                print(f"{name} {json.dumps(options, sort_keys=True)} {digest}", flush=True)


def digest_of(method: str, options: dict[str, object], state: Path) -> str:
    """Of the end of one training; how it has ended where it came to no end."""
    from counterpoise.training.engine import Replicate
    from tests.support import small_cell, small_problem

    try:
        made = Replicate(small_problem(small_cell(method, options=options)), 0, state, 1e9)
        made.run(lambda _: None, lambda: False)
    except Exception as error:  # a method that one of the two codes does not have, say
        return f"{type(error).__name__}: {error}"
    found = hashlib.sha256(json.dumps([made.history, made.trouble]).encode())
    for key, value in sorted({**made.network.state_dict(), **made.method_state}.items()):
        found.update(key.encode() + value.contiguous().numpy().tobytes())
    return found.hexdigest()[:16]


if __name__ == "__main__":
    main()
