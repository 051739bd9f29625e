"""How long `import batchloom` takes, as a ratio to `import numpy`: under 2 is the aim.

Every figure comes from a process of its own. The two are timed in turn, so that a busy moment of
the machine weighs on both, and the median of the rounds counts.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys

TIMED = "import time; start = time.perf_counter(); import {}; print(time.perf_counter() - start)"


def seconds(module: str) -> float:
    """The time that importing the module takes in a fresh process."""
    done = subprocess.run(
        [sys.executable, "-c", TIMED.format(module)], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def main() -> None:
    """Print both medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    pairs = [(seconds("numpy"), seconds("batchloom")) for _ in range(rounds + 1)][1:]
    numpy, batchloom = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"import numpy      {1000 * numpy:7.1f} ms")
    print(f"import batchloom  {1000 * batchloom:7.1f} ms")
    print(f"ratio             {batchloom / numpy:7.2f}")


if __name__ == "__main__":
    main()
