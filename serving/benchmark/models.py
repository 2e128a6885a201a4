"""The models of the benchmark: HRL-Rec at the paper's sizes, and DeepFM beside it.

Both train for one epoch on random sessions, through the verbs `train` and `export`: what they answer means nothing, how
fast they answer does. DeepFM has ten fields, embeddings of 32 and three layers of 400.
"""

import argparse
import pathlib
from collections.abc import Sequence

from hrlrec_tf import verbs
from hrlrec_tf.benchmark.inputs import write_sessions
from hrlrec_tf.cli import Verb
from serving.benchmark.plan import DEEPFM, HRLREC, Plan, base_of

_DEEPFM = ("network.embedding_dim=32", "network.hidden_units=[400,400,400]")
_QUICK_DEEPFM = ("network.embedding_dim=4", "network.hidden_units=[8]")


def build(folder: pathlib.Path, plan: Plan) -> None:
    """Writes version 1 of both models; HRL-Rec's with an item catalogue."""
    sessions, sizes = folder / "sessions", plan.workload
    write_sessions(sizes, sessions)
    (sessions / "summary.json").write_text("{}", encoding="utf-8")
    settings = {HRLREC: sizes.settings, DEEPFM: _QUICK_DEEPFM if plan.quick else _DEEPFM}
    names = {HRLREC: ["hrl-rec", "--preset=paper"], DEEPFM: ["deepfm"]}
    for model, name in names.items():
        trained = folder / "trained" / model
        changes = [f"--set={setting}" for setting in ("training.epochs=1", *settings[model])]
        _run(verbs.TRAIN, [f"--data={sessions}", f"--out={trained}", "--model", *name, *changes])
        catalogue = [f"--catalogue={sessions}"] if model == HRLREC else []
        _run(verbs.EXPORT, [f"--model={trained}", f"--out={base_of(folder, model)}", *catalogue])


def _run(verb: Verb, words: Sequence[str]) -> None:
    verb.run(_parser(verb).parse_args(words))


def _parser(verb: Verb) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    verb.add_arguments(parser)
    return parser
