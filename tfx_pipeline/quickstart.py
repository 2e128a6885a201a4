"""The main job: an impression log in; a blessed model, one served ranking call and a report out."""

import dataclasses
import json
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from tqdm import tqdm

from hrlrec_tf.cli import write_json
from hrlrec_tf.config import Config
from hrlrec_tf.data import requests
from hrlrec_tf.data.config import DatasetConfig
from hrlrec_tf.data.prepare import read_summary
from hrlrec_tf.evaluation import metrics, panel
from serving.client import RankingClient
from serving.messages import RankRequest, RankResponse
from serving.server import EmbeddedServer
from tfx_pipeline import dag, impression_scorer, local_runner
from tfx_pipeline.configs import PipelineConfig, Thresholds

PANEL_SIZE = 200  # requests of evaluation users, all offered the same candidates
_RANK_DEADLINE_SECONDS = 120.0
_PANEL_BATCH = 20


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Everything a run of the main job has to show.

    Attributes:
      pipeline: what the TFX run left behind.
      summary: `summary.json` of the sessions.
      evaluation: `metrics.click_metrics` of the scored evaluation impressions.
      training: records of `metrics.jsonl`.
      request: the request that was ranked. response: its list. Both None when no model was pushed.
      recommended: statistics of the panel's lists, or None.
    """

    pipeline: local_runner.PipelineResult
    summary: Mapping[str, Any]
    evaluation: Mapping[str, Any]
    training: Sequence[Mapping[str, Any]]
    request: RankRequest | None
    response: RankResponse | None
    recommended: panel.PanelStatistics | None


def run(dataset: DatasetConfig, workdir: pathlib.Path, model: Config, thresholds: Thresholds) -> Outcome:
    """Runs the pipeline on `dataset`, serves what it pushed, ranks one request and a panel.

    Raises:
      HrlrecError: any part failed; the message says which and what to do.
    """
    config = local_runner.local_config(dataset, str(workdir), model, thresholds=thresholds)
    result = _run_pipeline(config)
    scored = result.runs["ImpressionScorer"].outputs["impressions"]
    sessions = result.runs["SessionExampleGen"].outputs["examples"]
    sampled = requests.sample_requests(sessions, count=PANEL_SIZE)
    request, response, recommended = None, None, None
    if result.blessed:
        write_json(workdir / "request.json", sampled[0])
        request = RankRequest.from_json(workdir / "request.json")
        response, recommended = _rank(str(workdir / "serving"), request, sampled)
    return Outcome(
        pipeline=result,
        summary=read_summary(sessions),
        evaluation=metrics.click_metrics(
            impression_scorer.read_impressions(f"{scored}/Split-{impression_scorer.SPLIT}")
        ),
        training=_read_training(result.runs["Trainer"].outputs["model_run"]),
        request=request,
        response=response,
        recommended=recommended,
    )


def _run_pipeline(config: PipelineConfig) -> local_runner.PipelineResult:
    with tqdm(total=len(local_runner.component_names(config)), desc="pipeline", unit="component") as bar, dag.quiet():

        def show(component: str, state: str) -> None:
            bar.set_postfix_str(f"{component}: {state}")
            if state != dag.RUNNING:
                tqdm.write(f"  {component:<18} {state}", file=sys.stderr)
                bar.update()

        return local_runner.run(config, show)


def _rank(
    model_base: str, request: RankRequest, sampled: Sequence[Mapping[str, Any]]
) -> tuple[RankResponse, panel.PanelStatistics]:
    """Serves the newest version; ranks one request, then every sampled user on the first one's candidates."""
    same_candidates = [RankRequest.from_dict({**each, "candidates": sampled[0]["candidates"]}) for each in sampled]
    with (
        EmbeddedServer(model_base, port=0) as server,
        RankingClient(server.address, history_length=None) as client,
    ):
        response = client.rank(request, deadline_seconds=_RANK_DEADLINE_SECONDS)
        responses: list[RankResponse] = []
        for start in tqdm(range(0, len(same_candidates), _PANEL_BATCH), desc="rank", unit="batch"):
            batch = same_candidates[start : start + _PANEL_BATCH]
            responses += client.rank_many(batch, deadline_seconds=_RANK_DEADLINE_SECONDS)
    statistics = panel.panel_statistics(
        [[item.channel for item in each.items] for each in responses],
        [[item.item_id for item in each.items] for each in responses],
        [each.user_id for each in same_candidates],
    )
    return response, statistics


def _read_training(model_run: str) -> list[dict[str, Any]]:
    text = (pathlib.Path(model_run) / "metrics.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]
