"""Sessions by the definition, row by row in plain Python: slow, and obvious enough to judge the fast ones by."""

import collections
import math

from hrlrec_tf.features import FeatureSpec, Kind


def total_order(row):
    return row["timestamp"], row["request_id"], row["position"], row["item_id"]


def cuts(rows, eval_fraction=0.2, validation_fraction=0.1):
    """First timestamps of validation and evaluation: each share takes the newest rows left, and their ties."""
    newest = sorted((row["timestamp"] for row in rows), reverse=True)
    eval_from = newest[max(math.floor(eval_fraction * len(rows)), 1) - 1]
    rest = [time for time in newest if time < eval_from]
    if not rest:
        return eval_from, eval_from
    return rest[max(math.floor(validation_fraction * len(rest)), 1) - 1], eval_from


def split_of(row, cut):
    return "eval" if row["timestamp"] >= cut[1] else "validation" if row["timestamp"] >= cut[0] else "train"


def displayed_lists(rows, length):
    """[(id, time, rows)] of accepted rows that carry request ids; long requests in parts."""
    requests = collections.defaultdict(list)
    for row in rows:
        requests[row["request_id"]].append(row)
    found = []
    for request, members in requests.items():
        members.sort(key=lambda row: row["position"])
        time = min(row["timestamp"] for row in members)
        for part, start in enumerate(range(0, len(members), length)):
            found.append((request if part == 0 else f"{request}#{part + 1}", time, members[start : start + length]))
    return sorted(found, key=lambda each: (each[1], each[0]))


def lists_by_rule(rows, gap_ms, length):
    """[(id, time, rows)] of rows without request ids; gives each its position."""
    by_user = collections.defaultdict(list)
    for row in sorted(rows, key=lambda row: (row["timestamp"], row["item_id"])):
        by_user[row["user_id"]].append(row)
    found = []
    for user, members in by_user.items():
        own, last = [], None
        for row in members:
            if last is None or row["timestamp"] - last > gap_ms or len(own[-1]) == length:
                own.append([])
            own[-1].append(row)
            row["position"] = len(own[-1])
            last = row["timestamp"]
        found += [(f"{user}/{n:08d}", each[0]["timestamp"], each) for n, each in enumerate(own, 1)]
    return sorted(found, key=lambda each: (each[1], each[0]))


class Oracle:
    """Sessions of accepted rows.

    Args:
      rows: dictionaries with all standard columns, `tags` a list.
      lists: [(id, time, rows)].
    """

    def __init__(self, rows, lists, spec: FeatureSpec, delay_ms=0, cut=None):
        self.spec, self.lists, self.delay_ms = spec, lists, delay_ms
        self.rows = rows
        self.cut = cut or cuts(rows)
        self.counts = {}  # id(row) -> its as-of counts in its list
        for _, time, members in lists:
            for n, row in enumerate(members):
                self.counts[id(row)] = self._counts(self._before(row["user_id"], time), members[:n], row)

    def _before(self, user, time):
        rows = [row for row in self.rows if row["user_id"] == user and row["timestamp"] < time - self.delay_ms]
        return sorted(rows, key=total_order)

    def _counts(self, before, earlier, row):
        counts = {"channel_impressions": 0, "channel_clicks": 0, "tag_impressions": 0, "tag_clicks": 0}
        counts |= {"new_tags_in_list": 0, "new_tags_to_user": 0}
        for past in before:
            if past["channel"] == row["channel"]:
                counts["channel_impressions"] += 1
                counts["channel_clicks"] += past["clicks"]
        counts["channel_impressions"] += sum(other["channel"] == row["channel"] for other in earlier)
        for tag in row["tags"]:
            having = [past for past in before if tag in past["tags"]]
            above = [other for other in earlier if tag in other["tags"]]
            counts["tag_impressions"] += len(having) + len(above)
            counts["tag_clicks"] += sum(past["clicks"] for past in having)
            counts["new_tags_in_list"] += not above
            counts["new_tags_to_user"] += not having
        return counts

    def _profile(self, before):
        profile = {}
        for of, values in (("channel", lambda row: [row["channel"]]), ("tag", lambda row: row["tags"])):
            impressions, clicks = collections.Counter(), collections.Counter()
            for row in before:
                for value in values(row):
                    impressions[value] += 1
                    clicks[value] += row["clicks"]
            order = sorted(impressions, key=lambda value: (-impressions[value], value))
            profile[f"profile_{of}"] = order
            profile[f"profile_{of}_impressions"] = [impressions[value] for value in order]
            profile[f"profile_{of}_clicks"] = [clicks[value] for value in order]
        return profile

    def sessions(self, split):
        """[{feature: values}] of one split, in order of time."""
        found = []
        for name, time, members in self.lists:
            weights = [float(split_of(row, self.cut) == split) for row in members]
            if not any(weights):
                continue
            before = self._before(members[0]["user_id"], time)
            history = before[len(before) - min(len(before), self.spec.history_length) :]
            session = {feature: [members[0].get(feature)] for feature in self.spec.request}
            session |= {"request_id": [name], "timestamp": [time]}
            session |= self._columns(self.spec.list_rows, members, self.spec.list_length, left=False)
            session["weight"] = weights + [0.0] * (self.spec.list_length - len(members))
            names = {feature.removeprefix("history_"): kind for feature, kind in self.spec.history_rows.items()}
            rows = self._columns(names, history, self.spec.history_length, left=True)
            session |= {f"history_{feature}": values for feature, values in rows.items()}
            found.append(session | self._profile(before))
        return found

    def _columns(self, kinds: dict[str, Kind], rows, width, left):
        columns = {}
        for name, kind in kinds.items():
            padding = [[kind.absent] * (self.spec.max_tags if name == "tags" else 1)] * (width - len(rows))
            cells = [self._cell(name, kind, row) for row in rows]
            columns[name] = sum(padding + cells if left else cells + padding, [])
        return columns

    def _cell(self, name, kind, row):
        if name == "tags":
            return row["tags"] + [""] * (self.spec.max_tags - len(row["tags"]))
        return [self.counts[id(row)][name] if name in self.counts[id(row)] else row.get(name, kind.absent)]
