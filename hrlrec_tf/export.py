"""SavedModel signatures for TensorFlow Serving.

`rank` (the default), `score`, `score_examples`; with an item catalogue inside also `rank_ids`, which takes candidates
by id alone, and `recommend`, which finds its own. Click prediction baselines only score.

The transform graph is inside, so a request carries raw strings and numbers. Inputs are `FeatureSpec.serving_inputs()`.
An invalid request raises InvalidArgumentError with one sentence that starts with "hrlrec: "; a server answers it with
INVALID_ARGUMENT.
"""

import pathlib
import shutil
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeAlias, cast

import tensorflow as tf

from hrlrec_tf import models
from hrlrec_tf.catalogue import ItemCatalogue
from hrlrec_tf.catalogue_lookup import CatalogueLookup, Retrieval
from hrlrec_tf.data.input import SessionReader
from hrlrec_tf.data.requests import PER_CHANNEL
from hrlrec_tf.errors import ModelError
from hrlrec_tf.evaluation.scoring import Scorer
from hrlrec_tf.networks.level import Level
from hrlrec_tf.networks.list_network import ListNetwork
from hrlrec_tf.quotas import Quotas
from hrlrec_tf.serving_request import (
    Inputs,
    assert_each,
    catalogue_columns,
    checked,
    input_specs,
    read_request,
    read_user,
)
from hrlrec_tf.warmup import write_warmup

Signatures: TypeAlias = dict[str, tf.types.experimental.ConcreteFunction]


class ServingModule(tf.Module):
    """A trained network behind its signatures.

    Args:
      network: of HRL-Rec or an RL competitor. reader: of the sessions it was trained on.
      catalogue: items to carry along. quotas: bounds on each channel's rows in a list.
    """

    def __init__(
        self,
        network: ListNetwork,
        reader: SessionReader,
        catalogue: ItemCatalogue | None = None,
        quotas: Quotas | None = None,
    ) -> None:
        super().__init__(name="hrlrec")
        # What a SavedModel must hold is tracked: weights, and the transform graph's tables. The Keras layers themselves
        # stay out (behind plain objects), for saving would trace each of them again.
        self.weights = network.variables
        self.transform = reader.layer
        self._reader, self._ranker = reader, models.ranker(network, quotas)
        self.lookup = self.retrieval = None
        if catalogue is not None:
            self.lookup = CatalogueLookup(catalogue, reader, network)
            if isinstance(network.levels["item"], Level):  # a level without an actor says nothing before candidates
                self.retrieval = Retrieval(self.lookup, self._ranker, PER_CHANNEL)

    @property
    def item_ids(self) -> list[str] | None:
        """Of the catalogue, if there is one."""
        return None if self.lookup is None else self.lookup.item_ids

    def signatures(self) -> Signatures:
        """Name -> traced function."""
        inputs = input_specs(self._reader.spec)
        rank = _trace(self.rank, inputs)
        found = {
            "serving_default": rank,
            "rank": rank,
            "score": _trace(self.score, _without(inputs, ["epsilon"])),
            "score_examples": _trace(self.score_examples, _EXAMPLES),
        }
        known = catalogue_columns(self._reader.spec)
        if self.lookup is not None:
            found["rank_ids"] = _trace(self.rank_ids, _without(inputs, known))
        if self.retrieval is not None:
            found["recommend"] = _trace(self.recommend, _without(inputs, [*known, "candidate_item_id"]))
        return found

    def rank(self, inputs: Inputs) -> dict[str, tf.Tensor]:
        """The list of each request: [batch, T] each; see `Ranker.rank`."""
        return _shown(self.ranked(inputs))

    def ranked(self, inputs: Inputs) -> dict[str, tf.Tensor]:
        """As `rank`, with `index`, the places of what is shown among the candidates."""
        inputs = checked(inputs, self._reader.spec)
        return self._ranker.rank(*read_request(inputs, self._reader), inputs["epsilon"])

    def rank_ids(self, inputs: Inputs) -> dict[str, tf.Tensor]:
        """As `rank` of the candidates' features in the catalogue, with `unknown_candidates` [batch], the number of ids
        that are not in it.
        """
        lookup = cast(CatalogueLookup, self.lookup)
        inputs = checked(inputs, self._reader.spec)
        candidates, items, unknown = lookup.candidates(inputs["candidate_item_id"])
        known = tf.reduce_all(tf.reduce_any(candidates.item_id != "", axis=-1), keepdims=True)
        rule = "no candidate of a request is in the item catalogue inside the model"
        with tf.control_dependencies([assert_each(known, [rule], [tf.shape(items)[:2]])]):
            epsilon = tf.identity(inputs["epsilon"])
        user = self._ranker.read(read_user(lookup.complete(inputs), self._reader))
        return {**_shown(self._ranker.rank_for(user, candidates, epsilon, items)), "unknown_candidates": unknown}

    def recommend(self, inputs: Inputs) -> dict[str, tf.Tensor]:
        """As `rank` of the items of each of the catalogue's channels that are nearest to what the item level would show
        first there.
        """
        lookup = cast(CatalogueLookup, self.lookup)
        inputs = checked(inputs, self._reader.spec)
        user = self._ranker.read(read_user(lookup.complete(inputs), self._reader))
        candidates, items = lookup.at(cast(Retrieval, self.retrieval).places(user))
        return _shown(self._ranker.rank_for(user, candidates, inputs["epsilon"], items))

    def score(self, inputs: Inputs) -> dict[str, tf.Tensor]:
        """Click probability of each candidate as if shown first: [batch, candidates]."""
        inputs = checked(inputs, self._reader.spec)
        return {"click_probability": self._ranker.score(*read_request(inputs, self._reader))}

    def score_examples(self, inputs: Inputs) -> dict[str, tf.Tensor]:
        """Click probability and Q values of the displayed rows of serialized sessions: [batch, T] each."""
        return self._ranker.network(self._reader.read(inputs["examples"]))


class ScoringModule(tf.Module):
    """A click prediction model behind the signatures `score` (the default) and `score_examples`.

    Args:
      scorer: gives `click_probability` [B, T] of transformed sessions.
      variables: its weights.
      reader: of the sessions it was trained on.
    """

    item_ids = None  # it carries no catalogue

    def __init__(self, scorer: Scorer, variables: Sequence[tf.Variable], reader: SessionReader) -> None:
        super().__init__(name="hrlrec")
        self.weights, self.transform = list(variables), reader.layer
        self._reader, self._scorer = reader, scorer

    def signatures(self) -> Signatures:
        """Name -> traced function."""
        score = _trace(self.score, _without(input_specs(self._reader.spec), ["epsilon"]))
        score_examples = _trace(self.score_examples, _EXAMPLES)
        return {"serving_default": score, "score": score, "score_examples": score_examples}

    def score(self, inputs: Inputs) -> dict[str, tf.Tensor]:
        """Click probability of each candidate as if shown first, 0 for padding: [batch, candidates]."""
        request, candidates = read_request(checked(inputs, self._reader.spec), self._reader)
        first = {"position": tf.ones_like(candidates.rows["item_id"])}
        probability = self._scorer({**request.batch, **candidates.rows, **first})["click_probability"]
        return {"click_probability": tf.where(candidates.item_id != "", probability, 0.0)}

    def score_examples(self, inputs: Inputs) -> dict[str, tf.Tensor]:
        """Click probability of the displayed rows of serialized sessions: [batch, T]."""
        return dict(self._scorer(self._reader.read(inputs["examples"])))


_EXAMPLES = {"examples": tf.TensorSpec([None], tf.string, "examples")}


def _without(inputs: Mapping[str, tf.TensorSpec], names: Collection[str]) -> dict[str, tf.TensorSpec]:
    return {name: spec for name, spec in inputs.items() if name not in names}


def _shown(ranked: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """What a server answers."""
    return {name: values for name, values in ranked.items() if name != "index"}


def _trace(
    method: Callable[[Inputs], Mapping[str, tf.Tensor]], inputs: Mapping[str, tf.TensorSpec]
) -> tf.types.experimental.ConcreteFunction:
    """A signature takes its inputs by name."""
    return tf.function(lambda **values: method(values), autograph=False).get_concrete_function(**inputs)


def export_saved_model(model_dir: str, out: str, catalogue: str | None = None, quotas: str | None = None) -> None:
    """Writes the best networks of a model folder, whichever model it holds, as a SavedModel.

    Args:
      model_dir: folder of `hrlrec train`.
      out: folder to make; appears only when it is complete.
      catalogue: items to carry along; see `ItemCatalogue.read`.
      quotas: YAML file with bounds on each channel's rows in a list; see `Quotas.from_file`.

    Raises:
      ModelError: `model_dir` holds no finished model, or one that builds no lists where these are wanted; `out` exists.
      DataError, ConfigError: catalogue or quotas are wrong.
    """
    make, reader = serving_module(model_dir, catalogue, quotas)
    save(make, reader, out)


def serving_module(
    model_dir: str, catalogue: str | None = None, quotas: str | None = None
) -> tuple[Callable[[], ServingModule | ScoringModule], SessionReader]:
    """What makes the module that would be exported of a model folder, and the reader of its sessions.

    Arguments and errors: `export_saved_model`.
    """
    network, reader, _ = models.load(model_dir)
    if isinstance(network, ListNetwork):
        items = None if catalogue is None else ItemCatalogue.read(catalogue, reader.spec)
        length, channels = reader.spec.list_length, reader.vocabulary("channel")
        bounds = None if quotas is None else Quotas.from_file(quotas, length, channels)
        return lambda: ServingModule(network, reader, items, bounds), reader
    if catalogue is not None or quotas is not None:
        raise ModelError(f"{model_dir} holds a model that builds no lists; leave --catalogue and --quotas out")
    return lambda: ScoringModule(network, cast(tf.Module, network).variables, reader), reader


def save(make: Callable[[], ServingModule | ScoringModule], reader: SessionReader, out: str) -> None:
    """Writes a SavedModel to `out`: under a temporary name, then renamed. Raises ModelError if `out` exists."""
    target = pathlib.Path(out)
    if target.exists():
        raise ModelError(f"{target} exists; a model version is never overwritten, choose another --out")
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = pathlib.Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        module = make()
        signatures = module.signatures()
        tf.saved_model.save(module, str(scratch), signatures=signatures)
        inputs = {
            name: list(function.structured_input_signature[1])
            for name, function in signatures.items()
            if name not in ("serving_default", "score_examples")
        }
        write_warmup(str(scratch), reader, inputs, module.item_ids)
        scratch.chmod(0o755)  # a temporary folder is private, a model server may run as another user
        scratch.rename(target)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
