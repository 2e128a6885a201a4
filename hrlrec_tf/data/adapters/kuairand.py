"""KuaiRand (Gao et al., CIKM 2022): short videos of one feed, with randomly exposed videos among them."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hrlrec_tf.data import columns
from hrlrec_tf.data.adapters.base import ITEM_COUNTS, LIST_RULE, Adapter, Batch, Conversion, with_columns
from hrlrec_tf.data.adapters.folder import Folder, choose
from hrlrec_tf.data.adapters.side import SideTable
from hrlrec_tf.data.rules import Column

LOGS = {
    "pure": ("log_standard_4_08_to_4_21_pure.csv", "log_standard_4_22_to_5_08_pure.csv"),
    "1k": ("log_standard_4_08_to_4_21_1k.csv", "log_standard_4_22_to_5_08_1k.csv"),
    "27k": tuple(
        f"log_standard_{days}_27k_part{part}.csv" for days in ("4_08_to_4_21", "4_22_to_5_08") for part in (1, 2)
    ),
}
SHORT_MS = 30_000

LOG_COLUMNS = (
    "user_id", "video_id", "time_ms", "is_click", "play_time_ms", "duration_ms", "is_rand", "tab",
)  # fmt: skip
VIDEO_COLUMNS = ("author_id", "video_type", "upload_type", "music_type", "tag")
USER_COLUMNS = (
    "user_active_degree", "is_lowactive_period", "is_live_streamer", "is_video_author", "follow_user_num_range",
    "fans_user_num_range", "friend_user_num_range", "register_days_range",
)  # fmt: skip

COLUMNS = {
    "user_id": Column("user_id"),
    "timestamp": Column("time_ms"),
    "item_id": Column("video_id"),
    "channel": Column("channel"),
    "tags": Column("tag"),
    "clicks": Column("is_click"),
    "dwell_seconds": Column("play_time_ms", scale=0.001),
    "explored": Column("is_rand"),
    "context_tab": Column("tab", type="string"),
    "item_author": Column("author_id", type="string"),
    "item_upload_type": Column("upload_type", type="string"),
    "item_music_type": Column("music_type", type="string"),
    "item_duration_seconds": Column("duration_ms", scale=0.001, type="float"),
    **{f"user_{name.removeprefix('user_')}": Column(f"of_{name}", type="string") for name in USER_COLUMNS},
}


def open_folder(folder: Folder, variant: str | None) -> Conversion:
    """Opens the log files of one variant with its video and user tables."""
    present = [each for each, logs in LOGS.items() if any(folder.find(log) for log in logs)]
    variant = choose(folder, variant, present, "log_standard_*.csv")
    logs = [folder.text(folder.one(name)) for name in (*LOGS[variant], f"log_random_4_22_to_5_08_{variant}.csv")]
    for log in logs:
        folder.check_columns(log, LOG_COLUMNS)
    video_file = folder.text(folder.one(f"video_features_basic_{variant}.csv"))
    user_file = folder.text(folder.one(f"user_features_{variant}.csv"))
    videos = SideTable(folder.read(video_file, ("video_id", *VIDEO_COLUMNS)), "video_id", VIDEO_COLUMNS)
    users = SideTable(folder.read(user_file, ("user_id", *USER_COLUMNS)), "user_id", USER_COLUMNS, "of_")

    def batches() -> Iterator[Batch]:
        for log in logs:
            for raw in folder.read(log, LOG_COLUMNS):
                table = users.join(videos.join(raw.table, "video_id"), "user_id")
                yield Batch(folder.relative(log), raw.with_table(with_columns(table, {"channel": channel(table)})))

    notes = [f"{len(videos):,} videos and {len(users):,} users in the side tables"]
    notes += [
        f"{folder.relative(file)}: {table.broken:,} damaged rows left out"
        for file, table in ((video_file, videos), (user_file, users))
        if table.broken
    ]
    settings = {"list_rule": LIST_RULE, "item_counts": ITEM_COUNTS}
    return Conversion(COLUMNS, batches(), settings, tags_separator=",", notes=notes)


def channel(table: pa.Table) -> pa.Array:
    """`ad` by the video's type, else by duration: `photo` (0), `short` (below half a minute) or `long`.

    Null where the duration is no number.
    """
    duration = columns.to_numbers(table["duration_ms"])
    unknown = duration.missing | duration.bad
    kinds = np.select([unknown, duration.values == 0, duration.values < SHORT_MS], [3, 0, 1], 2)
    ads = columns.mask(pc.equal(columns.to_text(table["video_type"])[0], "AD"))
    names = pa.array(["photo", "short", "long", None, "ad"], pa.string())
    return names.take(pa.array(np.where(ads, 4, kinds)))


ADAPTER = Adapter(
    name="kuairand",
    title="KuaiRand",
    summary="short videos with random exposures (Pure, 1K, 27K)",
    about="""\
files: log_standard_4_08_to_4_21_*.csv, log_standard_4_22_to_5_08_*.csv, log_random_4_22_to_5_08_*.csv,
video_features_basic_*.csv, user_features_*.csv; * is pure, 1k or 27k (there with _part1, _part2).
video_features_statistic_* is not read: it averages over the whole month, test days included.

user_id, timestamp, item_id   user_id, time_ms, video_id
channel                       ad (video_type AD), photo (duration_ms 0), short (< 30 s), long
tags                          tag
clicks, dwell_seconds         is_click, play_time_ms / 1000
explored                      is_rand
context_tab                   tab, the scenario
item_author, item_upload_type, item_music_type, item_duration_seconds    the video's
user_*                        user_active_degree, is_*, the *_range columns; onehot_feat* are left out

traps: channels are made here, the log has none. Lists are made by the list rule. Pure keeps only rows of 7,583
videos, so its sequences have holes; ids of the three variants differ, never mix them. is_click in the single-column
scenarios means "played long enough". The random rows have no propensity: the pool is known, the rate is not.""",
    source="https://kuairand.com (files at https://zenodo.org/records/10439422)",
    licence="CC BY-SA 4.0",
    variants=tuple(LOGS),
    open=open_folder,
)
