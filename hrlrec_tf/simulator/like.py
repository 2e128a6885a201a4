"""`hrlrec simulate --like`: a world fitted to a log, its own log, and how like the two are."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

from tqdm import tqdm

from hrlrec_tf.data import prepare
from hrlrec_tf.data.config import DatasetConfig
from hrlrec_tf.simulator import calibration, fit_report, fit_start, log_profile, log_rows, logs, world_file
from hrlrec_tf.simulator.config import WorldConfig

WORLD_FILE = "world.yaml"


def write_log_like(
    dataset: DatasetConfig, start: WorldConfig, out: pathlib.Path, sizes: Mapping[str, Any], progress: bool = True
) -> dict[str, Any]:
    """Fits a world to a log, writes the world's log and `world.yaml`, and compares.

    The comparison reads what was written as it reads the log.

    Args:
      dataset: the log to be like.
      start: what a log does not say.
      out: as `logs.write_log` takes it.
      sizes: fields of the fitted world that are wanted otherwise.
      progress: whether to show bars on stderr.

    Returns:
      What `logs.write_log` returns, `fit` (see `fit_report.compare`), `notes` and `world`.

    Raises:
      ConfigError: `out` is taken, or lies within the log.
      LogError: the log cannot be read or fitted, or the disk refuses the output.
    """
    out = out.resolve()
    prepare.check_outside(dataset, str(out), "--out")
    logs.check_new(out)
    rows, small = log_rows.merged(log_rows.read(dataset, progress), fit_start.MOST_CHANNELS, fit_start.OTHER)
    log = log_profile.measure(rows)
    with tqdm(
        desc="fit", total=calibration.SIZE_ROUNDS + calibration.ROUNDS, unit="round", disable=not progress
    ) as bar:
        config = calibration.fit(log, start, bar.update)
    config = dataclasses.replace(config, **sizes)
    result = logs.write_log(config, out, progress)
    written = log_rows.read(DatasetConfig(log=str(out), list_length=config.positions, sequence_length=99), progress)
    world_file.save(config, out / WORLD_FILE)
    simulated = log_profile.measure(log_rows.ordered(written, log.channels))
    notes = fit_start.notes(log, small, rows.rejected)
    return result | {
        "fit": fit_report.compare(log, simulated),
        "notes": notes,
        "world": dataclasses.asdict(config),
    }
