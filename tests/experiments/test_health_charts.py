from hrlrec_tf.experiments.health_charts import health_charts

TRAIN = [
    {"split": "train", "epoch": 1, "channel_overestimation": 0.25, "item_overestimation": -0.5, "gradient_norm": 8.0},
    {"split": "train", "epoch": 2, "channel_overestimation": 0.125, "item_overestimation": 0.0, "gradient_norm": 0.0},
]


def panel(epoch: int, **shares: float) -> dict:
    return {"split": "panel", "epoch": epoch, "requests": 7, **{f"channel_share/{k}": v for k, v in shares.items()}}


def by_title(records, prefix: str = "") -> dict:
    return {chart.title: chart for chart in health_charts(records, prefix)}


def test_both_levels_by_epoch():
    chart = by_title(TRAIN)["Overestimation"]
    assert chart.columns == ("epoch", "channel selector", "item recommender")
    assert chart.rows == [("1", "0.2500", "-0.5000"), ("2", "0.1250", "0.0000")]


def test_effective_sample_size_of_a_run_with_weights():
    weighted = [{**record, "effective_sample_size": 40.0, "similarity_pool": 160.0} for record in TRAIN]
    chart = by_title(weighted)["Effective sample size"]
    assert chart.columns == ("epoch", "effective rows", "rows of a batch")
    assert chart.rows == [("1", "40.0000", "160.0000"), ("2", "40.0000", "160.0000")]
    assert "Effective sample size" not in by_title(TRAIN)


def test_gradients_are_drawn_in_powers_of_ten_and_zero_is_left_out():
    chart = by_title(TRAIN)["Gradients, shared tables"]
    assert chart.rows == [("1", "–", "–", "8.0000"), ("2", "–", "–", "0.0000")]
    assert "mathdefault" not in chart.svg and chart.svg


def test_a_channel_that_no_list_has_has_a_share_of_zero():
    records = [panel(1, news=0.75, video=0.25), panel(2, video=1.0)]
    chart = by_title(records)["Channel mix while training"]
    assert chart.columns == ("epoch", "video", "news")  # the largest first
    assert chart.rows == [("1", "0.2500", "0.7500"), ("2", "1.0000", "0.0000")]


def test_many_channels_are_cut():
    chart = by_title([panel(1, **{f"c{i}": 1 / (i + 8) for i in range(8)})])["Channel mix while training"]
    assert chart.columns == ("epoch", *(f"c{i}" for i in range(6)))
    assert "The 6 largest of 8." in chart.caption


def test_nothing_is_no_picture():
    charts = health_charts([])
    assert len(charts) == 10 and all(chart.svg == "" and list(chart.rows) == [] for chart in charts)


def test_the_prefix_keeps_names_apart():
    one, other = (by_title(TRAIN, prefix)["Overestimation"].svg for prefix in ("1-", "2-"))
    assert 'id="1-overestimation' in one and 'id="2-overestimation' in other
