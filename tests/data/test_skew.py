"""A user with very many rows: what the worker that gets them needs. A process of its own tells its peak memory."""

import json
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hrlrec_tf.benchmark.prepare import world
from hrlrec_tf.simulator.logs import write_log

from .logs import IN_MEMORY

BYTES_PER_ROW = 1_200  # 800 were measured

CODE = """
import json, resource, sys
from hrlrec_tf.data import config, prepare
summary = prepare.prepare(config.DatasetConfig(log=sys.argv[1]), sys.argv[2], sys.argv[3:], show_progress=False)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # bytes
print(json.dumps({"accepted": summary["accepted"], "users": summary["users"], "peak": peak}))
"""


def write_skewed(folder, rows, of_one_user):
    """A simulated log in which one user has the first rows of each day."""
    write_log(world(rows), folder, progress=False)
    for file in folder.glob("*.parquet"):
        table = pq.read_table(file)
        own = len(table) * of_one_user // rows // 10 * 10  # whole lists
        users = pa.concat_arrays([pa.repeat("giant", own), table["user_id"].combine_chunks()[own:]])
        pq.write_table(table.set_column(table.column_names.index("user_id"), "user_id", users), file)
    return str(folder)


def prepare(folder, rows, of_one_user):
    log = write_skewed(folder / f"log{of_one_user}", rows, of_one_user)
    command = [sys.executable, "-W", "ignore", "-c", CODE, log, str(folder / f"out{of_one_user}"), *IN_MEMORY]
    made = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert made["accepted"] == rows and 1 < made["users"] <= rows // 200 + 1
    return made["peak"]


def test_memory_grows_by_a_bounded_number_of_bytes_per_row_of_one_user(tmp_path):
    small, large = (prepare(tmp_path, rows, rows * 9 // 10) for rows in (50_000, 200_000))
    assert (large - small) / 135_000 < BYTES_PER_ROW


@pytest.mark.slow
def test_a_user_with_a_million_rows_fits_in_a_worker(tmp_path):
    assert prepare(tmp_path, 1_100_000, 1_000_000) < 1.3 * 2**30
