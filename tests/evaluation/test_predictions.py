import pandas as pd
import pyarrow.parquet as pq
import pytest

from hrlrec_tf.errors import DataError
from hrlrec_tf.evaluation import predictions

ROWS = pd.DataFrame(
    {
        "request_id": ["r1", "r1", "rü"],
        "user_id": ["a", "a", "b"],
        "position": [1, 2, 1],
        "label": [0, 1, 0],
        "prediction": [0.25, 0.5, 0.125],
        "q_item": [1.0, 2.0, 3.0],
    }
)


def test_row_groups_come_back_in_order(tmp_path):
    file = tmp_path / "new" / "m-0.parquet"
    with predictions.Writer(file) as writer:
        writer.add(ROWS.iloc[:2])
        writer.add(ROWS.iloc[2:])
        assert not file.exists()
    assert pq.ParquetFile(file).num_row_groups == 2 and [each.name for each in file.parent.iterdir()] == [file.name]
    pd.testing.assert_frame_equal(pd.read_parquet(file), ROWS)
    found = pd.concat(list(predictions.read(file)), ignore_index=True)
    pd.testing.assert_frame_equal(found, ROWS.drop(columns="q_item"))


def test_a_frame_without_rows_may_come_first(tmp_path):
    with predictions.Writer(tmp_path / "m-0.parquet") as writer:
        writer.add(ROWS.astype({"prediction": "float32"}).iloc[:0])
        writer.add(ROWS.astype({"prediction": "float32"}))
    assert sum(map(len, predictions.read(tmp_path / "m-0.parquet"))) == 3
    predictions.write(tmp_path / "none-0.parquet", ROWS.iloc[:0])
    (none,) = predictions.read(tmp_path / "none-0.parquet")
    assert len(none) == 0 and set(none) == set(ROWS) - {"q_item"}


def test_an_error_leaves_nothing(tmp_path):
    with pytest.raises(KeyError), predictions.Writer(tmp_path / "m-0.parquet") as writer:
        writer.add(ROWS)
        raise KeyError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("probability", [True, False])
def test_the_file_says_whether_it_holds_probabilities(tmp_path, probability):
    predictions.write(tmp_path / "m-0.parquet", ROWS, probability)
    assert predictions.read_is_probability(tmp_path / "m-0.parquet") is probability
    ROWS.to_parquet(tmp_path / "other-0.parquet")  # of another program
    assert predictions.read_is_probability(tmp_path / "other-0.parquet")


def test_files_that_are_none(tmp_path):
    ROWS.drop(columns=["label", "position"]).to_parquet(tmp_path / "short.parquet")
    (tmp_path / "text.parquet").write_text("no")
    for name, message in {
        "short": "has no column position, label; needed is a Parquet file of scored rows with the columns request_id",
        "text": "cannot be read as a Parquet file of scored rows",
        "absent": "cannot be read as a Parquet file of scored rows",
    }.items():
        with pytest.raises(DataError, match=f"{name}.parquet {message}"):
            list(predictions.read(tmp_path / f"{name}.parquet"))
