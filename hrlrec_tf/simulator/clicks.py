"""How users go through a list: two click models of different structure.

In both a user looks at rows from above and may leave after each. Given that the user is still there,

  P(click at t) = look(t) * chance(appeal, what stands above)
  P(leaving after t) = departure(chance, clicked or not)

| | examination | cascade |
|---|---|---|
| look(t) | t ** -position_decay: rows are skipped | 1: every row is looked at |
| chance | sigmoid(appeal - channel_fatigue * n_c - tag_fatigue * n_g) | sigmoid(appeal) * (1 - cascade_repeat) ** n |
| departure | abandonment * (1 - chance): bored by what has no appeal | cascade_stop_click or cascade_stop_skip |

n_c counts the earlier rows of the item's channel, n_g the earlier occurrences of its tags, n = n_c + n_g.
`examination` is a position-based model with abandonment (Craswell et al. 2008 call the first part so), `cascade` a
dependent click model (Guo et al. 2009), in which a click itself ends lists. In both, early positions change later
clicks.
"""

import abc
import dataclasses

import numpy as np
import numpy.typing as npt

from hrlrec_tf.simulator.config import WorldConfig
from hrlrec_tf.simulator.feed import Feed, sigmoid
from hrlrec_tf.simulator.noise import Purpose, uniform
from hrlrec_tf.simulator.requests import FloatArray, IntArray, Requests


class ClickModel(abc.ABC):
    """One way to go through a list."""

    def __init__(self, config: WorldConfig) -> None:
        self.config = config

    @abc.abstractmethod
    def look(self, t: int) -> float:
        """Probability that a user who is there looks at position t, from 1."""

    @abc.abstractmethod
    def chance(self, appeal: FloatArray, same_channel: FloatArray, same_tags: FloatArray) -> FloatArray:
        """Probability of a click on what is looked at; all of one shape."""

    @abc.abstractmethod
    def departure(self, chance: FloatArray, clicked: bool) -> FloatArray:
        """Probability of leaving after a row with this chance; its shape."""


class Examination(ClickModel):
    """Rows further down are overlooked; boredom makes users leave."""

    def look(self, t: int) -> float:
        return float(t**-self.config.position_decay)

    def chance(self, appeal: FloatArray, same_channel: FloatArray, same_tags: FloatArray) -> FloatArray:
        config = self.config
        fatigue = np.float32(config.channel_fatigue) * same_channel + np.float32(config.tag_fatigue) * same_tags
        return sigmoid(appeal - fatigue)

    def departure(self, chance: FloatArray, clicked: bool) -> FloatArray:
        return np.float32(self.config.abandonment) * (1 - chance)


class Cascade(ClickModel):
    """Every row is looked at until a click, or one look in vain too many, ends the list."""

    def look(self, t: int) -> float:
        return 1.0

    def chance(self, appeal: FloatArray, same_channel: FloatArray, same_tags: FloatArray) -> FloatArray:
        kept: FloatArray = np.float32(1 - self.config.cascade_repeat) ** (same_channel + same_tags)
        return sigmoid(appeal) * kept

    def departure(self, chance: FloatArray, clicked: bool) -> FloatArray:
        stop = self.config.cascade_stop_click if clicked else self.config.cascade_stop_skip
        return np.full_like(chance, stop)


_MODELS: dict[str, type[ClickModel]] = {"examination": Examination, "cascade": Cascade}


def click_model(config: WorldConfig) -> ClickModel:
    """The world's click model."""
    return _MODELS[config.click_model](config)


@dataclasses.dataclass(frozen=True)
class Response:
    """What came back for [requests, positions] lists.

    Attributes:
      probability: of a click on each row before anything happened: the truth behind `clicks`.
      clicks: bool.
      seen: bool, whether the user was still there at the row.
    """

    probability: FloatArray
    clicks: npt.NDArray[np.bool_]
    seen: npt.NDArray[np.bool_]


def respond(feed: Feed, requests: Requests, lists: IntArray) -> Response:
    """Draws the users' answers; the luck is keyed by user, day, request, position and item.

    Below 0 in `lists` is an empty row: it ends the list.
    """
    model, chances = click_model(feed.config), chances_of(feed, requests, lists)
    who = (requests.users[:, np.newaxis], requests.day, requests.numbers[:, np.newaxis])
    keys = (*who, np.arange(lists.shape[1]), lists)
    luck = uniform(feed.config.seed, Purpose.CLICK, *keys)
    leaving = uniform(feed.config.seed, Purpose.LEAVE, *keys)
    clicks, seen = np.zeros(lists.shape, bool), np.zeros(lists.shape, bool)
    there: npt.NDArray[np.bool_] = np.ones(len(requests), bool)
    for t in range(lists.shape[1]):
        there &= lists[:, t] >= 0
        seen[:, t] = there
        clicks[:, t] = there & (luck[:, t] < model.look(t + 1) * chances[:, t])
        after_click, after_skip = (model.departure(chances[:, t], clicked) for clicked in (True, False))
        there = there & (leaving[:, t] >= np.where(clicks[:, t], after_click, after_skip))
    return Response(_probabilities(model, chances), clicks, seen)


def click_probabilities(feed: Feed, requests: Requests, lists: IntArray) -> FloatArray:
    """True click probability of every row of [requests, positions] lists."""
    return _probabilities(click_model(feed.config), chances_of(feed, requests, lists))


def expected_ctr(feed: Feed, requests: Requests, lists: IntArray) -> float:
    """Mean true click probability of `lists`: [requests, positions], or [positions] for one list for everybody."""
    shape = (len(requests), lists.shape[-1])
    return float(click_probabilities(feed, requests, np.broadcast_to(lists, shape)).mean(dtype=np.float64))


def chances_of(feed: Feed, requests: Requests, lists: IntArray) -> FloatArray:
    """[requests, positions]: click chance of every row of `lists` for a user who looks at it; 0 for empty rows."""
    model, appeal = click_model(feed.config), feed.appeal(requests, lists)
    placed = PlacedCounts(feed, len(requests))
    chances = np.empty(lists.shape, np.float32)
    for t in range(lists.shape[1]):
        same_channel, same_tags = placed.repeats(lists[:, t : t + 1])
        chances[:, t] = (lists[:, t] >= 0) * model.chance(appeal[:, t], same_channel[:, 0], same_tags[:, 0])
        placed.add(lists[:, t])
    return chances


def greedy_lists(feed: Feed, requests: Requests, items: IntArray) -> npt.NDArray[np.int64]:
    """Lists of a ranker that knows every user: at each position the item with the largest true chance of a click.

    Args:
      feed: the world. requests: who asks.
      items: [requests, n] to choose from, below 0: none.

    Returns:
      [requests, positions] places in `items`, -1 where none is left.
    """
    model, appeal = click_model(feed.config), feed.appeal(requests, items)
    placed, absent = PlacedCounts(feed, len(requests)), items < 0
    places = np.empty((len(requests), feed.config.positions), np.int64)
    for t in range(feed.config.positions):
        chances = np.where(absent, np.float32(-1), model.chance(appeal, *placed.repeats(items)))
        best = chances.argmax(axis=1)[:, np.newaxis]
        places[:, t] = np.where(absent.all(axis=1), -1, best[:, 0])
        np.put_along_axis(absent, best, True, axis=1)
        placed.add(np.take_along_axis(items, best, axis=1)[:, 0])
    return places


def _probabilities(model: ClickModel, chances: FloatArray) -> FloatArray:
    there = np.ones(len(chances), np.float32)
    probabilities = np.empty_like(chances)
    for t in range(chances.shape[1]):
        chance = chances[:, t]
        clicked = np.float32(model.look(t + 1)) * chance
        probabilities[:, t] = there * clicked
        leaving = clicked * model.departure(chance, True) + (1 - clicked) * model.departure(chance, False)
        there = there * (1 - leaving)
    return probabilities


class PlacedCounts:
    """What each list holds so far, by channel and by tag: the source of fatigue."""

    def __init__(self, feed: Feed, lists: int) -> None:
        """`lists` empty lists."""
        self._corpus = feed.corpus
        self._rows = np.arange(lists)[:, np.newaxis]
        self._channels = np.zeros((lists, len(feed.config.channel_names)), np.float32)
        self._tags = np.zeros((lists, feed.corpus.tag_count + 1), np.float32)  # the last column is "no tag", kept at 0

    def add(self, items: IntArray) -> None:
        """Places one item, [lists], at the end of each list."""
        self._channels[self._rows[:, 0], self._corpus.channels[items]] += 1.0
        self._tags[self._rows, self._corpus.tags[items]] += 1.0  # an item's tags are distinct
        self._tags[:, -1] = 0.0

    def repeats(self, items: IntArray) -> tuple[FloatArray, FloatArray]:
        """How often the channel, and the tags, of each of [lists, n] items stand in the list already."""
        tags = self._corpus.tags[items]
        same_tags = self._tags[self._rows, tags[..., 0]]
        for k in range(1, tags.shape[-1]):
            same_tags = same_tags + self._tags[self._rows, tags[..., k]]
        return self._channels[self._rows, self._corpus.channels[items]], same_tags
