"""The file of limits: what the gates of a run accept."""

import dataclasses
import pathlib

import yaml

from hrlrec_tf.data import parsing
from hrlrec_tf.errors import ConfigError
from tfx_pipeline.configs import Thresholds
from tfx_pipeline.data_faults import DataLimits
from tfx_pipeline.model_gates import ModelLimits


@dataclasses.dataclass(frozen=True)
class Limits:
    """The sections of the file; what one leaves out is the default.

    Attributes:
      data: of DataGate.
      model: of QualityGate and StabilityGate.
      thresholds: of Evaluator and ServingCheck.
    """

    data: DataLimits = DataLimits()
    model: ModelLimits = ModelLimits()
    thresholds: Thresholds = Thresholds()


def read(path: str | None) -> Limits:
    """The limits of a YAML file; None gives the defaults.

    Raises:
      ConfigError: the file cannot be read, or a section or field is unknown or of the wrong type.
    """
    if path is None:
        return Limits()
    try:
        given = yaml.safe_load(pathlib.Path(path).read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML ({' '.join(str(error).split())})") from error
    try:
        return parsing.build(Limits, given, "")
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
