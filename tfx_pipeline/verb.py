"""`hrlrec quickstart`: all of it with one command."""

import argparse
import dataclasses
import importlib.metadata
import pathlib
import shlex
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hrlrec_tf.cli import Verb
from hrlrec_tf.errors import HrlrecError

if TYPE_CHECKING:
    from tfx_pipeline.quickstart import Outcome

_PACKAGES = ("hrlrec_tf", "tensorflow", "tf-agents", "tfx", "apache-beam")


class NotBlessedError(HrlrecError):
    """The model missed a threshold and was not pushed."""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workdir", required=True, metavar="DIR", help="everything the run writes")
    parser.add_argument("--log", metavar="DIR", help="impression log (default: a simulated one)")
    parser.add_argument(
        "--config", metavar="YAML", help="how the log maps to the standard columns, or a known data set"
    )
    parser.add_argument("--preset", default="best", choices=("paper", "best"), help="settings of the model")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="one setting, e.g. training.epochs=3; repeatable",
    )


def _run(args: argparse.Namespace) -> Mapping[str, Any]:
    from hrlrec_tf.config import preset
    from hrlrec_tf.data import config as datasets
    from tfx_pipeline import quickstart
    from tfx_pipeline.configs import Thresholds

    start = time.monotonic()
    workdir = pathlib.Path(args.workdir).resolve()
    log = args.log
    if args.log is None and args.config is None:
        log = str(_simulated_log(workdir))
    dataset = datasets.find(log, args.config)
    settings, thresholds = preset(args.preset).override(args.set), Thresholds()
    outcome = quickstart.run(dataset, workdir, settings, thresholds)
    report = _write_report(outcome, workdir, settings.to_dict(), thresholds)
    _print_summary(outcome, workdir, report, time.monotonic() - start)
    if not outcome.pipeline.blessed:
        raise NotBlessedError(f"the model was not pushed: {'; '.join(outcome.pipeline.reasons)}; see {report}")
    return {
        **outcome.evaluation,
        "lists": outcome.summary["requests"],
        "version": outcome.pipeline.version,
        "report": str(report),
        "ranked": outcome.response.to_dict() if outcome.response else None,
        "recommended": dataclasses.asdict(outcome.recommended) if outcome.recommended else None,
        "seconds": time.monotonic() - start,
    }


def _simulated_log(workdir: pathlib.Path) -> pathlib.Path:
    """The default simulated log; an earlier run's is used again."""
    from hrlrec_tf.simulator.config import WorldConfig
    from hrlrec_tf.simulator.logs import write_log

    log = workdir / "log"
    if not log.exists():
        write_log(WorldConfig(), log, progress=True)
    return log


def _write_report(
    outcome: "Outcome", workdir: pathlib.Path, settings: Mapping[str, Any], thresholds: Any
) -> pathlib.Path:
    from hrlrec_tf.experiments.report import RunReport, write_report

    evaluated = {name: rows["eval"] for name, rows in outcome.summary["channels"].items()}
    return write_report(
        workdir / "report.html",
        RunReport(
            title="HRL-Rec quickstart",
            log=outcome.summary,
            settings=settings,
            training=outcome.training,
            evaluation=outcome.evaluation,
            logged_shares={name: rows / max(sum(evaluated.values()), 1) for name, rows in evaluated.items()},
            panel=outcome.recommended,
            sample=outcome.response.to_dict()["items"] if outcome.response else (),
            blessed=outcome.pipeline.blessed,
            reasons=outcome.pipeline.reasons,
            thresholds={"AUC": thresholds.auc, "calibration": thresholds.calibration},
            places=_places(outcome, workdir),
            commands=_commands(workdir),
            versions={name: importlib.metadata.version(name) for name in _PACKAGES},
        ),
    )


def _places(outcome: "Outcome", workdir: pathlib.Path) -> dict[str, str]:
    runs = outcome.pipeline.runs
    return {
        "pushed model": outcome.pipeline.version or "none",
        "model folder (checkpoints, TensorBoard logs)": runs["Trainer"].outputs["model_run"],
        "sessions and rejected rows": runs["SessionExampleGen"].outputs["examples"],
        "TFMA results": outcome.pipeline.evaluation,
        "curated schema": str(workdir / "schema.pbtxt"),
    }


def _commands(workdir: pathlib.Path) -> dict[str, str]:
    folder = shlex.quote(str(workdir))
    return {
        "serve the model": f"hrlrec serve --model-base {folder}/serving --port 8500",
        "rank the request of this page": f"hrlrec rank --server localhost:8500 --request {folder}/request.json",
        "use your own log": f"hrlrec quickstart --log my_log/ --workdir {folder}_mine",
    }


def _print_summary(outcome: "Outcome", workdir: pathlib.Path, report: pathlib.Path, seconds: float) -> None:
    from hrlrec_tf.data.verb import describe
    from serving.verbs import table

    print()
    print(describe(outcome.summary))
    values = outcome.evaluation
    print(
        f"evaluation on {values['rows']:,} impressions of the newest lists: AUC {values['auc']:.4f}, "
        f"log loss {values['log_loss']:.4f}, calibration {values['calibration']:.3f}"
    )
    if outcome.request is not None and outcome.response is not None:
        print(f"\nranked for user {outcome.request.user_id} from {len(outcome.request.candidates)} candidates:")
        print(table(outcome.response, exploring=False))
    print()
    for name, place in _places(outcome, workdir).items():
        print(f"{name}: {place}")
    for what, command in _commands(workdir).items():
        print(f"{what}: {command}")
    print(f"report: {report}   ({seconds:.0f} s)")


VERB = Verb(
    help="impression log to served model and report, with one command",
    example="hrlrec quickstart --log my_log/ --workdir work/",
    add_arguments=_add_arguments,
    run=_run,
)
