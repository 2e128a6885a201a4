"""A log whose users have ids that nothing else holds, in all the places where ids turn up in real logs."""

import json
import pathlib

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hrlrec_tf.simulator.config import WorldConfig
from hrlrec_tf.simulator.logs import write_log

KEY_ENV, KEY = "TEST_SENTINEL_KEY", "the-key-itself-7f3a"
DATASET = f"""\
masking: {{columns: [user_id], key_env: {KEY_ENV}}}
k_anonymity: {{columns: [user_city], k: 5}}
"""
CITY = "Sentinel-Ville-on-the-Ñ"  # of one user


def user(number: str) -> str:
    """An id with characters that JSON, HTML and URLs write otherwise."""
    return f"SENTINEL<{number}>ë&/mail"


def write(folder: pathlib.Path, world: WorldConfig) -> list[str]:
    """Writes a simulated log, masked by its dataset.yaml; returns what must be found nowhere behind it.

    Request ids are made of user ids; one user lives where nobody else does; some rows are broken, one of them beyond
    parsing.
    """
    write_log(world, folder, progress=False)
    users: set[str] = set()
    for file in sorted(folder.glob("*.parquet")):
        table = pq.read_table(file)
        ids = [user(each) for each in table["user_id"].to_pylist()]
        users |= set(ids)
        requests = [f"{who}-{request}" for who, request in zip(ids, table["request_id"].to_pylist(), strict=True)]
        first = min(ids)
        cities = [CITY if who == first else "Bigtown" for who in ids]
        for name, values in {"user_id": ids, "request_id": requests, "user_city": cities}.items():
            values = pa.array(values, pa.string())
            known = name in table.column_names
            table = (
                table.set_column(table.column_names.index(name), name, values)
                if known
                else table.append_column(name, values)
            )
        clicks = pc.if_else(pa.array([row % 97 == 5 for row in range(len(table))]), -1, table["clicks"])  # broken
        table = table.set_column(table.column_names.index("clicks"), "clicks", clicks.cast(table["clicks"].type))
        pq.write_table(table, file)
    whole = table.slice(0, 1).to_pylist()[0] | {"request_id": f"{min(users)}-torn", "user_id": min(users)}
    text = json.dumps(whole, ensure_ascii=False)
    (folder / "torn.jsonl").write_text(f"{text}\n{text[:-9]}\n", encoding="utf-8")
    (folder / "dataset.yaml").write_text(DATASET, encoding="utf-8")
    return [*sorted(users), CITY, KEY]
