"""A fixed panel of requests that all get the same candidates: do the lists of a ranker differ from user to user?"""

from collections.abc import Mapping, Sequence

import tensorflow as tf

from hrlrec_tf import features, models
from hrlrec_tf.candidates import Candidates, Request
from hrlrec_tf.data.input import SessionReader, as_sparse, session_records
from hrlrec_tf.data.requests import Catalogue
from hrlrec_tf.evaluation.panel import PanelStatistics, panel_statistics
from hrlrec_tf.features import FeatureSpec
from hrlrec_tf.networks.list_network import ListNetwork

PANEL_SIZE = 200  # requests
_CATALOGUE_LISTS = 20_000  # read to find the candidates
_END_OF_TIME = 1 << 62  # ms: every row read lies before it


class RequestPanel:
    """Ranks the same requests again and again while `network` learns; only the first time takes long.

    Requests are sessions drawn from `files`; their candidates are the most popular items of each channel there
    (`Catalogue.candidates`).

    Args:
      network: of HRL-Rec or an RL competitor.
      reader: of the sessions.
      files: session files; at least one session.
      seed: of the draw.
      size: requests; fewer if the files hold fewer sessions.
    """

    def __init__(
        self, network: ListNetwork, reader: SessionReader, files: Sequence[str], seed: int, size: int = PANEL_SIZE
    ) -> None:
        examples = next(iter(session_records(files, seed).batch(size)))
        raw = reader.parse(examples)
        self._users = [user.decode("utf-8") for user in raw["user_id"].numpy()]
        rows = _candidate_rows(Catalogue.from_files(files, reader.spec, _CATALOGUE_LISTS), reader.spec)
        self._request, self._candidates = _observe(reader, raw, rows)
        ranker = models.ranker(network)
        epsilon = tf.zeros([len(self._users)])
        self._rank = tf.function(lambda request, candidates: ranker.rank(request, candidates, epsilon), autograph=False)

    def statistics(self) -> PanelStatistics:
        """Figures of the lists that the network ranks now."""
        ranked = self._rank(self._request, self._candidates)
        texts = {name: ranked[name].numpy().astype(str) for name in ("channel", "item_id")}
        return panel_statistics(texts["channel"], texts["item_id"], self._users)


def _candidate_rows(catalogue: Catalogue, spec: FeatureSpec) -> dict[str, tf.Tensor]:
    """Raw item features of the candidates: [N], tags [N, K]."""
    candidates = catalogue.candidates(_END_OF_TIME, ())
    rows = {}
    for name, kind in spec.item.items():
        values = [candidate.get(name, kind.absent) for candidate in candidates]
        if name == "tags":
            values = [[*tags, *[""] * spec.max_tags][: spec.max_tags] for tags in values]
        rows[name] = tf.constant(values, tf.as_dtype(kind.dtype))
    return rows


def _observe(reader: SessionReader, raw: Mapping, rows: Mapping[str, tf.Tensor]) -> tuple[Request, Candidates]:
    """Sessions as ranking requests that all get the candidates `rows`."""
    spec, size = reader.spec, tf.shape(raw["user_id"])[0]
    every = {name: tf.repeat(values[tf.newaxis], size, axis=0) for name, values in rows.items()}
    session = {name: raw[name] for name in (*spec.request, *spec.history_rows, *features.PROFILE)}
    session |= {name: as_sparse(tf.reshape(values, [size, -1])) for name, values in every.items()}
    batch = reader.transform(session)
    request = Request(batch, *(tf.sparse.to_dense(raw[name]) for name in ("profile_channel", "profile_tag")))
    ids = {name: batch.pop(name) for name in spec.item}
    return request, Candidates(ids, every["item_id"], every["channel"], every["tags"])
