"""Does a model show everybody the same list? Ranks one panel of requests that all get the same candidates.

    python -m benchmarks.lists --data SESSIONS --models MODEL ... [--requests 1000]

Prints, per model folder, distinct lists among the requests, and between-user channel variance. Requests are sessions of
the evaluation split, candidates the most popular items of each channel.
"""

import argparse
import pathlib
import sys
from collections.abc import Sequence

from hrlrec_tf import training
from hrlrec_tf.errors import HrlrecError
from hrlrec_tf.evaluation.request_panel import RequestPanel
from hrlrec_tf.verbs import session_files, session_folder


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Distinct lists on a panel of requests with the same candidates.")
    parser.add_argument("--data", required=True, help="sessions, as `hrlrec prepare` wrote them")
    parser.add_argument("--models", required=True, nargs="+", help="model folders of `hrlrec train`")
    parser.add_argument("--requests", type=int, default=1000)
    args = parser.parse_args(argv)
    try:
        files = session_files(session_folder(args.data), "eval")
        print("| model | requests | users | distinct lists | between-user channel variance |\n|---|---|---|---|---|")
        for model in args.models:
            network, reader, _ = training.load(model)
            figures = RequestPanel(network, reader, files, seed=0, size=args.requests).statistics()
            print(
                f"| {pathlib.Path(model).name} | {figures.requests} | {figures.users} | {figures.distinct_lists} | "
                f"{figures.between_user_channel_variance:.4f} |"
            )
    except HrlrecError as error:
        print(f"benchmarks.lists: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
