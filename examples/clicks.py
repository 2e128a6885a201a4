"""Generated clicks: every user likes one channel, and clicks on its items more often than on others."""

import numpy as np

ITEMS, CHANNELS, GROUPS = 60, 4, 3  # ids count from 1; 0 is padding


def histories(users: int, rows: int, candidates: int, seed: int = 0) -> dict[str, np.ndarray]:
    """What each user saw, oldest first, padded on the left; whom to rank next; and what was clicked.

    Returns:
      user_group [users, 1]; item_id, channel, clicked [users, rows]; candidate_item_id, candidate_channel,
      candidate_clicked [users, candidates].
    """
    rng = np.random.default_rng(seed)
    liked = rng.integers(1, CHANNELS + 1, [users, 1])
    shown = rng.integers(1, ITEMS + 1, [users, rows + candidates])
    channels = 1 + shown % CHANNELS
    clicked = rng.random(shown.shape) < np.where(channels == liked, 0.8, 0.1)
    unseen = np.arange(rows) < rng.integers(0, rows, [users, 1])
    data = {"user_group": rng.integers(1, GROUPS + 1, [users, 1])}
    for name, values in {"item_id": shown, "channel": channels, "clicked": clicked}.items():
        data[name] = np.where(unseen, 0, values[:, :rows]).astype(np.int32)
        data[f"candidate_{name}"] = values[:, rows:].astype(np.int32)
    return {name: values.astype(np.int32) for name, values in data.items()}
