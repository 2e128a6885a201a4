"""Scored rows as Parquet files, for comparisons of models on the same rows."""

import os
import pathlib

import pandas as pd


def write(path: str | os.PathLike[str], rows: pd.DataFrame) -> None:
    """Writes scored rows, see `scoring.score_sessions`: first under a temporary name, then renamed."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.partial")
    rows.to_parquet(temporary, index=False)
    temporary.replace(path)
