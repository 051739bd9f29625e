"""Run the benchmarks: ``python -m benchmarks [w1 w2 ...] [--quick]``.

Without names, all of them run; their results are kept in benchmarks/results, and the tables and the
plot of the documents are made anew. ``--quick`` only shows that everything works, and keeps nothing.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
import traceback

from benchmarks import page, table
from benchmarks.results import Result
from benchmarks.timing import Effort

# Before NumPy is imported: one thread a product, so that who needs two cores says so, and threads of XGBoost
# that wait without keeping a core busy.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

WORKLOADS = {
    "w1": "w1_overhead",
    "w2": "w2_memory",
    "w2-storage": "w2_storage",
    "w3": "w3_overlap",
    "w3b": "w3_processes",
    "w4a": "w4a_sklearn",
    "w4b": "w4b_keras",
    "w4c": "w4c_xgboost",
    "w5": "w5_start",
    "w6": "w6_growth",
    "long": "long_run",
}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(WORKLOADS))
    parser.add_argument("--quick", action="store_true", help="little data and few rounds")
    parser.add_argument("--keep", action="store_true", help="keep the results of a part, too")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each subject, 3 or more")
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="subjects with that in their names"
    )
    chosen = parser.parse_args(arguments)
    if chosen.keep and (chosen.only or chosen.quick):
        parser.error("what --only or --quick leaves is not what a table shows: it cannot be kept")
    unknown = [each for each in chosen.names if each not in WORKLOADS]
    if unknown:
        parser.error(f"no workload {', '.join(unknown)}: there are {', '.join(WORKLOADS)}")
    keeps = chosen.keep or not (chosen.quick or chosen.names or chosen.only)
    effort = Effort(rounds=chosen.rounds, only=chosen.only)
    if chosen.quick:
        effort = Effort.quick(chosen.only)
    failed = []
    for name in chosen.names or WORKLOADS:
        try:
            result = measured(name, effort)
        except Exception:  # one that fails must not take the others with it
            traceback.print_exc()
            failed.append(name)
            continue
        if keeps:
            result.save()
            print("written:", *page.write(list(WORKLOADS)), flush=True)
    if failed:
        print("failed:", *failed, file=sys.stderr)
    return len(failed)


def measured(name: str, effort: Effort) -> Result:
    """Run one workload and show its table."""
    workload = importlib.import_module(f"benchmarks.{WORKLOADS[name]}")
    print(f"\n## {name.upper()}: {workload.TITLE}\n", flush=True)
    begin = time.perf_counter()
    result: Result = workload.run(
        effort, lambda text: print(f"  {text}", file=sys.stderr, flush=True)
    )
    print(table.of_workload(result))
    print(table.of_goals([result]))
    print(f"{time.perf_counter() - begin:.0f} s", flush=True)
    return result


if __name__ == "__main__":
    sys.exit(main())
