"""All metrics of one or several models on any number of scored rows, per slice, with a bootstrap over users.

    with Store() as store:
        for rows in score_batches(network, reader, files):
            store.add("hrl-rec", rows)
        print(evaluate(store)["hrl-rec"].overall.values["auc"])

Rows are read part by part (`Store.parts`): once, or twice where more than `store.WHOLE_ROWS` make AUC come from
counts in bins (`areas`). In memory are one part, its users' weights in some replicates, and per model and slice the
counts of its replicates; none of that grows with the number of rows but the part, a 64th of them.

A slice is a set of rows, and every metric of it is that of its rows as if there were no others: NDCG of a channel is
about the order of that channel's rows within each list.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from hrlrec_tf.errors import DataError
from hrlrec_tf.evaluation import areas, significance, sums
from hrlrec_tf.evaluation.accumulator import Accumulator
from hrlrec_tf.evaluation.figures import Evaluation, Figures
from hrlrec_tf.evaluation.options import Options
from hrlrec_tf.evaluation.store import Part, Store

NOT_PROBABILITIES = "predictions only order rows and are no probabilities (no click loss)"
_OUTSIDE = "predictions are outside [0, 1], so they are no probabilities"
_REPLICATE_BYTES = 1 << 28  # counts of replicates, over all models and slices
_FEWEST_BINS = 64
_ALL = ("", 0)

Slice = tuple[str, int]  # dimension, place in `Store.slices`; ("", 0) is all rows
Combine = Callable[[Part], Mapping[str, npt.NDArray[np.float64]]]


def evaluate(
    store: Store, options: Options | None = None, no_probabilities: Sequence[str] = (), combine: Combine | None = None
) -> dict[str, Evaluation]:
    """Evaluates every model of a store on the same rows and replicates.

    Args:
      store: scored rows.
      options: of the evaluation.
      no_probabilities: models whose predictions only order rows.
      combine: makes the predictions that are evaluated of a part's; None takes them as they are.

    Returns:
      Model -> its figures.

    Raises:
      DataError: models have other rows, or predictions of more than `store.WHOLE_ROWS` rows are outside [0, 1].
    """
    options = options or Options()
    combine = combine or (lambda part: part.predictions)
    slices = _slices(store) if options.slices else [_ALL]
    counts = {} if store.whole else _count(store, slices, combine)
    found: dict[str, dict[Slice, Accumulator]] = {}
    for number, part in enumerate(store.parts()):
        predictions = combine(part)
        found = found or _accumulators(list(predictions), slices, counts, options)
        pending = [
            found[name][each].add(rows)
            for each in slices
            for name, rows in _rows(part, predictions, each)
            if len(rows.user)
        ]
        for block, weights in significance.user_weights(part.users, options.replicates, (options.seed, number)):
            for resample in pending:
                resample(block, weights)
    found = found or _accumulators(store.models, slices, {}, options)
    outside = [name for name in store.models if not store.in_unit_interval(name)]
    why = dict.fromkeys(outside, _OUTSIDE) | dict.fromkeys(no_probabilities, NOT_PROBABILITIES)
    return {name: _evaluation(of_slice, store, why.get(name, "")) for name, of_slice in found.items()}


def _slices(store: Store) -> list[Slice]:
    return [_ALL, *((dimension, place) for dimension, names in store.slices.items() for place in range(len(names)))]


def _accumulators(
    models: Sequence[str], slices: Sequence[Slice], counts: Mapping[tuple[str, Slice], areas.Ints], options: Options
) -> dict[str, dict[Slice, Accumulator]]:
    affordable = _REPLICATE_BYTES // (8 * max(options.replicates, 1) * max(len(models) * len(slices), 1))
    bins = min(max(affordable, _FEWEST_BINS), areas.REPLICATE_BINS)
    return {name: {each: Accumulator(options, counts.get((name, each)), bins) for each in slices} for name in models}


def _evaluation(of_slice: Mapping[Slice, Accumulator], store: Store, why_no_probability: str) -> Evaluation:
    """Figures of one model; slices without rows are left out, channels stand by name."""
    figures = {each: accumulator.figures(why_no_probability) for each, accumulator in of_slice.items()}
    slices: dict[str, dict[str, Figures]] = {}
    for dimension, names in store.slices.items():
        order = sorted(range(len(names)), key=names.__getitem__) if dimension == "channel" else range(len(names))
        there = [(names[place], figures[dimension, place]) for place in order if (dimension, place) in figures]
        slices[dimension] = {name: each for name, each in there if each.rows}
    return Evaluation(figures[_ALL], slices, probability=not why_no_probability)


def _rows(
    part: Part, predictions: Mapping[str, npt.NDArray[np.float64]], each: Slice
) -> Iterator[tuple[str, sums.Rows]]:
    """Rows of a slice, per model."""
    dimension, place = each
    chosen = slice(None) if each == _ALL else part.slices[dimension] == place
    user, lists, label = part.user[chosen], part.list[chosen], part.label[chosen]
    for name, values in predictions.items():
        yield name, sums.Rows(part.users, part.lists, user, lists, label, values[chosen])


def _count(store: Store, slices: Sequence[Slice], combine: Combine) -> dict[tuple[str, Slice], areas.Ints]:
    """First pass: rows without and with a click per fine bin, [2, FINE_BINS], by model and slice."""
    outside = [name for name in store.models if not store.in_unit_interval(name)]
    if outside:
        raise DataError(
            f"{outside[0]} holds predictions outside [0, 1] on {max(store.rows.values()):,} rows, too many to order "
            "in memory; bring them into [0, 1] in their order, for instance by a sigmoid"
        )
    counts: dict[tuple[str, Slice], areas.Ints] = {}
    for part in store.parts():
        binned = {name: areas.fine_bins(values) for name, values in combine(part).items()}
        for each in slices:
            chosen = slice(None) if each == _ALL else part.slices[each[0]] == each[1]
            for name, bins in binned.items():
                cells = bins[chosen] + areas.FINE_BINS * part.label[chosen].astype(np.int64)
                added = np.bincount(cells, minlength=2 * areas.FINE_BINS).reshape(2, -1)
                counts[name, each] = counts.get((name, each), 0) + added
    return counts
