"""Chaos test: workers and the broker are killed, frozen, stopped and started at random, then the shop is audited.

    make chaos                                               # four minutes, with the embedded broker
    make chaos ARGS="--failures 100 --broker separate"       # until so many failures
    make chaos ARGS="--seed 7 --kinds freeze --beyond"       # only freezes, each beyond the session timeout

The same seed yields the same random choices; their effect depends on timing. Exit status 0: the audit has no findings,
the log holds exactly the bytes that the simulation alone yields for the same time, and no worker ended unexpectedly.
"""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from oracles.simulation import differences
from support.chaos_run import FAILURES, Chaos, log, print_report
from support.interrupts import let_children_be_interrupted


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=240.0, help="duration of the failures (default: 240)")
    parser.add_argument(
        "--failures", type=int, default=0, help="stop after this many failures (default: after --seconds)"
    )
    parser.add_argument("--interval", type=float, default=5.0, help="mean seconds between failures (default: 5)")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--partitions", type=int, default=16)
    parser.add_argument("--rate", type=float, default=5_000.0, help="sales per second of the shop (default: 5000)")
    parser.add_argument("--broker", choices=("embedded", "separate"), default="embedded")
    parser.add_argument(
        "--kinds", nargs="+", choices=FAILURES, default=list(FAILURES), help="kinds of failures (default: all)"
    )
    parser.add_argument("--beyond", action="store_true", help="always freeze for longer than the session timeout")
    parser.add_argument(
        "--seed", type=int, default=random.randrange(2**32), help="of the random choices (default: a new one)"
    )
    parser.add_argument("--report", type=Path, help="write the run's report to this file, as JSON")
    return parser.parse_args()


def main() -> int:
    let_children_be_interrupted()
    arguments = read_arguments()
    log(f"seed {arguments.seed}: {' '.join(sys.argv[1:])}")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="yasdg-chaos-") as folder:
        chaos = Chaos(arguments, Path(folder))
        try:
            chaos.begin()
            chaos.run()
            log("draining")
            chaos.drain()
            log("auditing")
            chaos.broker.start()
            audited = chaos.audit()
            log(f"comparing {audited['purchases']} purchases with the simulation")
            different = differences(chaos.shop, foreign=True)
        finally:
            chaos.close()
    print_report(
        arguments,
        began,
        failures=dict(chaos.failures),
        workers_started=chaos.started,
        workers_that_ended_by_themselves=len(chaos.unexpected),
        differences_from_the_simulation=different[:20],
        audit=audited,
    )
    for text in chaos.unexpected:
        print(text, file=sys.stderr)
    return 0 if audited["balanced"] and not different and not chaos.unexpected else 1


if __name__ == "__main__":
    sys.exit(main())
