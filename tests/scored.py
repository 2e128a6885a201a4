"""Scored rows with known click probabilities."""

import numpy as np
import pandas as pd


def make_rows(count: int = 1500, seed: int = 0, users: int = 60) -> pd.DataFrame:
    """Lists of 1 to 10 rows of random users, clicks as predicted."""
    rng = np.random.default_rng(seed)
    lists = np.sort(rng.integers(0, count // 5, count))
    taste = rng.normal(0, 1, users)
    user = (lists * 7919) % users
    prediction = 1 / (1 + np.exp(-(taste[user] + rng.normal(0, 1, count))))
    return pd.DataFrame(
        {
            "request_id": [f"r{number}" for number in lists],
            "user_id": [f"u{number}" for number in user],
            "channel": rng.choice(["video", "news"], count),
            "position": pd.Series(lists).groupby(lists).cumcount().to_numpy() + 1,
            "history_impressions": user % 50,
            "label": (rng.random(count) < prediction).astype(int),
            "prediction": prediction,
        }
    ).sample(frac=1, random_state=1)
