"""Lists with what was known before them, as serialized tf.Examples: the features that `features.py` names."""

import dataclasses
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from hrlrec_tf import features
from hrlrec_tf.data import asof, columns, example_bytes
from hrlrec_tf.data.asof import Ints, PairCounts, Ranges
from hrlrec_tf.data.lists import Codes, Lists, encode
from hrlrec_tf.data.timecut import Cuts
from hrlrec_tf.features import FeatureSpec

SPLITS = ("train", "validation", "eval")
PROFILE_LIMIT = 512  # channels and tags that a session carries; counts of rows know all

_CHUNK_LISTS = 1024
_CHUNK_PAIRS = 1 << 21


@dataclasses.dataclass(frozen=True)
class _Column:
    """A column to gather from: row -1 is padding.

    Attributes:
      values: [rows + 1, ...] numbers, or codes of `words`.
      words: strings, "" last; None for numbers.
      encoded: the same, encoded for examples.
    """

    values: npt.NDArray[np.generic]
    words: pa.Array | None = None
    encoded: pa.Array | None = None

    def take(self, rows: Ints, for_example: bool = True) -> pa.Array:
        taken = pa.array(self.values[rows].reshape(-1))
        words = self.vocabulary(for_example)
        return taken if words is None else words.take(taken)

    def vocabulary(self, for_example: bool) -> pa.Array | None:
        return self.encoded if for_example else self.words


def split_of(timestamp: Ints, cuts: Cuts) -> Ints:
    """The split of each row, as its place in SPLITS; -1 for a row that is older or newer than all of them."""
    later = (timestamp >= cuts.validation_from).astype(np.int64) + (timestamp >= cuts.eval_from)
    return np.where(timestamp < cuts.until, later - (timestamp < cuts.train_from), -1)


class SessionEncoder:
    """Encodes the lists of some users.

    Args:
      spec: the features.
      table: all rows of these users in total order, `position` included.
      lists: their lists, in the order to encode.
      cuts: the cuts in time.
      delay_ms: history rows are this much older than the list.
    """

    def __init__(self, spec: FeatureSpec, table: pa.Table, lists: Lists, cuts: Cuts, delay_ms: int) -> None:
        self._spec, self._table, self._lists, self._delay_ms = spec, table, lists, delay_ms
        self._timestamp = self._integers("timestamp")
        self._users, self._channels = encode(table["user_id"]), encode(table["channel"])
        self._number = np.repeat(np.arange(len(lists.times)), lists.sizes)  # list of each displayed row
        self._list_user = self._users.codes[lists.rows[lists.starts[:-1]]]
        self._before = asof.rows_before(self._users.codes, self._timestamp, self._list_user, lists.times - delay_ms)
        self._split = split_of(self._timestamp, cuts)
        tag_rows, tags, _ = columns.to_lists(table["tags"], features.TAG_SEPARATOR)
        self._tag_rows, self._tags = tag_rows, encode(tags)
        self._columns = {**self._log_columns(), **self._counts()}

    def lists_in(self, split: str) -> npt.NDArray[np.bool_]:
        """Which lists have a row in the split."""
        inside = self._split[self._lists.rows] == SPLITS.index(split)
        return np.bincount(self._number, inside, len(self._lists.times)) > 0

    def rows_in(self, split: str) -> npt.NDArray[np.bool_]:
        """Which rows of the table lie in the split."""
        return self._split == SPLITS.index(split)

    def encode(self, split: str) -> Iterator[list[bytes]]:
        """Yields serialized sessions of one split, some lists at a time."""
        chosen = np.flatnonzero(self.lists_in(split))
        cost = np.cumsum(self._tag_counts.pairs_of(self._list_user[chosen]) + 1)
        group = np.maximum(cost // _CHUNK_PAIRS, 0)
        for part in np.split(chosen, np.flatnonzero(np.diff(group)) + 1):
            for start in range(0, len(part), _CHUNK_LISTS):
                yield example_bytes.serialize(self._features(part[start : start + _CHUNK_LISTS], split))

    def known(self, users: pa.Array, times: Ints) -> dict[str, pa.Array]:
        """What sessions of some users at some times hold of what came before.

        Args:
          users: strings [queries], users of the table.
          times: int64 [queries], ms UTC.

        Returns:
          The features `history_*` and `profile_*`: list arrays [queries].
        """
        codes = columns.flat(pc.index_in(users, value_set=self._users.words)).to_numpy().astype(np.int64)
        before = asof.rows_before(self._users.codes, self._timestamp, codes, times - self._delay_ms)
        return self._known(codes, before, for_example=False)

    def _known(self, user: Ints, before: Ranges, for_example: bool = True) -> dict[str, pa.Array]:
        history = asof.history(before, self._spec.history_length)
        arrays = {
            name: _uniform_lists(
                self._columns[name.removeprefix(features.HISTORY)].take(history, for_example), len(user)
            )
            for name in self._spec.history_rows
        }
        for of, column, counts in (("channel", "channel", self._channel_counts), ("tag", "tags", self._tag_counts)):
            arrays |= _profile(of, counts, self._columns[column].vocabulary(for_example), user, before.end)
        return arrays

    def _integers(self, name: str) -> Ints:
        return columns.flat(self._table[name]).to_numpy()

    def _log_columns(self) -> dict[str, _Column]:
        """Columns that the log itself has."""
        wanted = {**self._spec.list_rows, **self._spec.history_rows, **self._spec.request}
        known = {"user_id": self._users, "channel": self._channels}
        found = {}
        for name in {name.removeprefix(features.HISTORY) for name in wanted} & set(self._table.column_names):
            if name == "tags":
                found[name] = self._tag_column()
            elif pa.types.is_string(self._table[name].type):
                found[name] = _words(known.get(name) or encode(self._table[name]))
            else:
                found[name] = _Column(
                    np.append(columns.flat(self._table[name]).to_numpy(), 0).astype(
                        self._table[name].type.to_pandas_dtype()
                    )
                )
        return found

    def _tag_column(self) -> _Column:
        rows = len(self._table)
        place = np.arange(len(self._tag_rows)) - np.searchsorted(self._tag_rows, self._tag_rows)
        codes = np.full((rows + 1, self._spec.max_tags), len(self._tags.words))
        codes[self._tag_rows, place] = self._tags.codes
        return dataclasses.replace(_words(self._tags), values=codes)

    def _counts(self) -> dict[str, _Column]:
        """As-of counts and new tags of each row, as it stood in its list."""
        rows, clicks = np.arange(len(self._table)), self._integers("clicks")
        user, channel = self._users.codes, self._channels.codes
        displayed, end = self._lists.rows, self._before.end[self._number]
        self._channel_counts = PairCounts(user, channel, rows, clicks)
        impressions, clicked = self._channel_counts.before(user[displayed], channel[displayed], end)
        impressions = impressions + asof.earlier_in_list(self._number, channel[displayed])

        tag_rows, tag = self._tag_rows, self._tags.codes
        self._tag_counts = PairCounts(user[tag_rows], tag, tag_rows, clicks[tag_rows])
        place, entry = _entries_of(displayed, tag_rows)
        before, tag_clicked = self._tag_counts.before(user[displayed][place], tag[entry], end[place])
        in_list = asof.earlier_in_list(self._number[place], tag[entry])
        summed = {
            "tag_impressions": before + in_list,
            "tag_clicks": tag_clicked,
            "new_tags_in_list": in_list == 0,
            "new_tags_to_user": before == 0,
        }
        by_place = {name: np.bincount(place, values, len(displayed)) for name, values in summed.items()}
        by_place |= {"channel_impressions": impressions, "channel_clicks": clicked}
        found = {}
        for name, values in by_place.items():
            of_row = np.zeros(len(rows) + 1, np.int64)
            of_row[displayed] = values
            found[name] = _Column(of_row)
        return found

    def _features(self, chosen: Ints, split: str) -> dict[str, pa.Array]:
        spec, lists = self._spec, self._lists
        starts, sizes = lists.starts[chosen], lists.sizes[chosen]
        place = starts[:, None] + np.arange(spec.list_length)
        inside = np.arange(spec.list_length) < sizes[:, None]
        displayed = np.where(inside, lists.rows[np.minimum(place, len(lists.rows) - 1)], -1)
        before = Ranges(self._before.first[chosen], self._before.end[chosen])
        flat: dict[str, pa.Array] = {}
        for name in spec.request:
            flat[name] = self._columns[name].take(displayed[:, :1]) if name in self._columns else pa.nulls(0)
        flat["request_id"] = example_bytes.text_values(lists.ids.take(pa.array(chosen)))
        flat["timestamp"] = pa.array(lists.times[chosen])
        for name in spec.list_rows:
            if name == "weight":
                flat[name] = pa.array((inside & self.rows_in(split)[displayed]).astype(np.float32).reshape(-1))
            else:
                flat[name] = self._columns[name].take(displayed)
        arrays = {name: _uniform_lists(values, len(chosen)) for name, values in flat.items()}
        return arrays | self._known(self._list_user[chosen], before)


def _profile(of: str, counts: PairCounts, words: pa.Array, user: Ints, end: Ints) -> dict[str, pa.Array]:
    query, value, impressions, clicks = counts.profile(user, end, PROFILE_LIMIT)
    offsets = pa.array(np.searchsorted(query, np.arange(len(user) + 1)).astype(np.int32))
    flat = {
        f"profile_{of}": words.take(pa.array(value)),
        f"profile_{of}_impressions": pa.array(impressions),
        f"profile_{of}_clicks": pa.array(clicks),
    }
    return {name: pa.ListArray.from_arrays(offsets, values) for name, values in flat.items()}


def _words(column: Codes) -> _Column:
    words = pa.concat_arrays([column.words, pa.array([""])])
    return _Column(np.append(column.codes, len(column.words)), words, example_bytes.text_values(words))


def _entries_of(rows: Ints, entry_rows: Ints) -> tuple[Ints, Ints]:
    """For each of `rows` its entries (`entry_rows` ascending): places in `rows`, and entry numbers, row by row."""
    first, last = np.searchsorted(entry_rows, rows), np.searchsorted(entry_rows, rows, side="right")
    sizes = last - first
    place = np.repeat(np.arange(len(rows)), sizes)
    return place, np.repeat(first - (np.cumsum(sizes) - sizes), sizes) + np.arange(len(place))


def _uniform_lists(values: pa.Array, count: int) -> pa.Array:
    """[count * width] values as `count` lists."""
    return pa.ListArray.from_arrays(pa.array(np.linspace(0, len(values), count + 1).astype(np.int32)), values)
