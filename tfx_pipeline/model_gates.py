"""Gates that hold a new model against the last blessed one and against logistic regression.

They report; `release.ReleaseGate` stops the run, so that a refused model's card has the figures of all of them.
"""

import dataclasses
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
import tensorflow as tf
from tfx import v1 as tfx
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils

from hrlrec_tf.data import parsing
from hrlrec_tf.data.schema import from_schema
from hrlrec_tf.evaluation import metrics
from hrlrec_tf.evaluation.panel import PanelStatistics, panel_statistics
from hrlrec_tf.features import FeatureSpec
from tfx_pipeline import blessed, impression_scorer, reports, serving_check
from tfx_pipeline.impression_scorer import BASE, BASELINE, PREDICTION


@dataclasses.dataclass(frozen=True)
class ModelLimits:
    """What a new model may lose.

    Attributes:
      auc_change: lowest accepted change of AUC against the last blessed model, on the newest day.
      channel_auc: lowest accepted AUC within each channel; that of the whole is `Thresholds.auc`.
      channel_auc_change: lowest accepted change within each channel.
      channel_rows: impressions from which on a channel is judged.
      rela_impr: lowest accepted RelaImpr over LR, in percent.
      channel_rela_impr: the same within each channel.
      mean_share_change, max_share_change: largest accepted mean and maximum over the channels of |new / old - 1| of a
        channel's share of the panel's lists.
      small_share: channels with a smaller share before are left out of both.
    """

    auc_change: float = -0.005
    channel_auc: float = 0.5
    channel_auc_change: float = -0.02
    channel_rows: int = 1000
    rela_impr: float = 0.0
    channel_rela_impr: float = -10.0
    mean_share_change: float = 0.2
    max_share_change: float = 0.5
    small_share: float = 0.01


@tfx.dsl.components.component
def QualityGate(
    impressions: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Examples],
    report: tfx.dsl.components.OutputArtifact[reports.GateReport],
    limits: tfx.dsl.components.Parameter[str],
) -> None:
    """Finds fault with a model that is worse than the last blessed one, or than logistic regression.

    Args:
      impressions: of the newest day, with the predictions of each.
      report: receives the AUCs, and faults where the model lost more than it may.
      limits: `ModelLimits` as JSON.
    """
    accepted = parsing.build(ModelLimits, json.loads(limits), "")
    folder = artifact_utils.get_split_uri([impressions], impression_scorer.SPLIT)
    figures = quality(impression_scorer.read_impressions(folder), accepted)
    told = [] if BASE in figures[""] else ["no model was blessed before: AUC was held against LR's alone"]
    reports.write(report.uri, told, {"auc": figures}, list(quality_faults(figures, accepted)))


@tfx.dsl.components.component
def StabilityGate(
    model: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Model],
    base: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Model],
    examples: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Examples],
    schema: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Schema],
    report: tfx.dsl.components.OutputArtifact[reports.GateReport],
    limits: tfx.dsl.components.Parameter[str],
    panel_size: tfx.dsl.components.Parameter[int],
) -> None:
    """Finds fault with a model whose lists for a fixed panel of requests have another channel mix than those before.

    Args:
      model: the export. base: of `LastBlessed`, with the panel that the versions before were judged by.
      examples: sessions; where there is no panel yet it is drawn of their split `eval`.
      schema: of the sessions.
      report: receives the shares, faults where they changed more than they may, and the panel for the versions that
        follow.
      limits: `ModelLimits` as JSON.
      panel_size: requests of a new panel.
    """
    accepted = parsing.build(ModelLimits, json.loads(limits), "")
    spec = from_schema(io_utils.SchemaReader().read(io_utils.get_only_uri_in_dir(schema.uri)))
    known = blessed.has_model(base.uri)
    files = f"{base.uri}/{blessed.PANEL}"
    drawn = not fileio.exists(files)  # of a first run, and where all users of the panel were forgotten
    if drawn:
        files = io_utils.all_files_pattern(artifact_utils.get_split_uri([examples], impression_scorer.SPLIT))
    panel = serving_check.read_sessions(files, panel_size)
    exports = {"new": model.uri, **({"old": base.uri} if known else {})}
    shown = {name: replay(path_utils.serving_model_path(uri), panel, spec) for name, uri in exports.items()}
    faults = share_faults(shown["old"].channel_shares, shown["new"].channel_shares, accepted) if known else []
    scratch = os.path.join(report.uri, f".{blessed.PANEL}.partial")
    with tf.io.TFRecordWriter(scratch, "GZIP") as writer:
        for session in panel:
            writer.write(session.SerializeToString())
    fileio.rename(scratch, os.path.join(report.uri, blessed.PANEL), overwrite=True)
    told = [] if known else ["no model was blessed before"]
    told += [f"{len(panel)} requests make up the panel from now on"] if drawn else []
    figures = {name: dataclasses.asdict(statistics) for name, statistics in shown.items()}
    reports.write(report.uri, told, figures, faults)


def quality(rows: pd.DataFrame, limits: ModelLimits) -> dict[str, dict[str, float]]:
    """AUC of each model on the whole ("") and on each channel that is large enough: slice -> model -> AUC.

    Args:
      rows: `label`, `channel`, and a column of predictions per model.
      limits: say which channels are large enough.
    """
    models = [name for name in (PREDICTION, BASE, BASELINE) if name in rows]
    parts = {"": rows} | {
        str(channel): part for channel, part in rows.groupby("channel") if len(part) >= limits.channel_rows
    }
    return {
        name: {model: metrics.auc(part["label"].to_numpy(), part[model].to_numpy()) for model in models}
        for name, part in parts.items()
    }


def quality_faults(figures: Mapping[str, Mapping[str, float]], limits: ModelLimits) -> Iterator[str]:
    """One sentence for each thing that the model lost; an AUC that there is none of (one class) is left out."""
    for channel, auc in figures.items():
        where = f" in channel {channel!r}" if channel else ""
        least = limits.channel_auc_change if channel else limits.auc_change
        if channel and auc[PREDICTION] < limits.channel_auc:
            yield f"AUC{where} is {auc[PREDICTION]:.4f}, required is at least {limits.channel_auc:g}"
        change = auc[PREDICTION] - auc.get(BASE, math.nan)
        if change < least:
            yield (
                f"AUC{where} is {auc[PREDICTION]:.4f}, the last blessed model's {auc[BASE]:.4f} on the same "
                f"impressions; accepted is a change of {least:g}"
            )
        least = limits.channel_rela_impr if channel else limits.rela_impr
        gain = metrics.rela_impr(auc[PREDICTION], auc.get(BASELINE, math.nan))
        if gain < least:
            yield (
                f"AUC{where} is {auc[PREDICTION]:.4f}, LR's {auc[BASELINE]:.4f}: RelaImpr {gain:.1f} %, required is "
                f"{least:g} %"
            )


def share_faults(old: Mapping[str, float], new: Mapping[str, float], limits: ModelLimits) -> list[str]:
    """What changed too much in the channel shares of the panel's lists, as sentences."""
    changes = share_changes(old, new, limits.small_share)
    if not changes:
        return []
    worst = max(changes, key=lambda channel: changes[channel])
    mean = float(np.mean(list(changes.values())))
    said = f"channel {worst!r} went from {old[worst]:.1%} to {new.get(worst, 0.0):.1%} of the panel's lists"
    faults = []
    if changes[worst] > limits.max_share_change:
        faults.append(f"{said}, a change of {changes[worst]:.1%}; accepted is {limits.max_share_change:.0%}")
    if mean > limits.mean_share_change:
        faults.append(
            f"channel shares changed by {mean:.1%} on average ({said}); accepted is {limits.mean_share_change:.0%}"
        )
    return faults


def share_changes(old: Mapping[str, float], new: Mapping[str, float], small: float) -> dict[str, float]:
    """|new / old - 1| of each channel with a share of at least `small` before (Sec. 4.8)."""
    return {name: abs(new.get(name, 0.0) / share - 1) for name, share in old.items() if share >= small}


def replay(saved_model: str, panel: Sequence[tf.train.Example], spec: FeatureSpec) -> PanelStatistics:
    """What a model shows to the users of a panel, all of them offered the same candidates, without exploration.

    Args:
      saved_model: folder of an export.
      panel: sessions; see `serving_check.canned_request`.
      spec: of the sessions.
    """
    rank = tf.saved_model.load(saved_model).signatures[serving_check.SIGNATURE]
    offered = serving_check.what_is_offered(panel, spec)
    lists = []
    for session in panel:
        ranked = rank(**_tensors({**serving_check.who_asks(session, spec), **offered}))
        lists.append({name: values.numpy()[0] for name, values in ranked.items()})
    texts = {name: np.array([ranked[name] for ranked in lists]).astype(str) for name in ("channel", "item_id")}
    users = [session.features.feature["user_id"].bytes_list.value[0].decode("utf-8") for session in panel]
    return panel_statistics(texts["channel"], texts["item_id"], users)


def _tensors(request: serving_check.Arrays) -> dict[str, tf.Tensor]:
    return {name: tf.constant(values) for name, values in request.items()}
