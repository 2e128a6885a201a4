import pytest
import sessions

from hrlrec_tf import features
from hrlrec_tf.features import FeatureSpec, Kind

SPEC = sessions.SPEC


def test_absent_values():
    assert [(kind, kind.absent) for kind in Kind] == [(Kind.STRING, ""), (Kind.INT, 0), (Kind.FLOAT, 0.0)]


def test_the_papers_sizes_are_the_defaults():
    spec = FeatureSpec()
    assert (spec.list_length, spec.history_length) == (10, 41)  # max(50 - 10 + 1, 0)


@pytest.mark.parametrize(
    ("name", "width"),
    [
        ("user_id", 1),
        ("user_age_band", 1),
        ("context_device", 1),
        ("item_id", 4),
        ("item_author", 4),
        ("tags", 8),
        ("weight", 4),
        ("new_tags_in_list", 4),
        ("new_tags_to_user", 4),
        ("history_item_id", 6),
        ("history_tags", 12),
        ("history_item_length_seconds", 6),
        ("profile_tag", None),
        ("profile_channel_clicks", None),
    ],
)
def test_width(name, width):
    assert SPEC.width(name) == width


def test_unknown_feature_is_refused_by_name():
    with pytest.raises(KeyError, match="'history_weight' is no session feature"):
        SPEC.width("history_weight")


def test_history_never_holds_what_belongs_to_the_current_list():
    assert not {"history_weight", "history_explored", "history_propensity_item"} & set(SPEC.history_rows)
    assert set(SPEC.session) == {*SPEC.request, *SPEC.list_rows, *SPEC.history_rows, *features.PROFILE}


def test_optional_columns_are_found_by_prefix():
    names = ["user_id", "item_id", "user_age", "context_hour", "item_size", "clicks", "history_item_size", "usage"]
    assert features.optional_columns(names) == ["user_age", "context_hour", "item_size"]


def test_spec_of_a_sessions_names_is_the_spec():
    sizes = {"list_length": 4, "history_length": 6, "max_tags": 2}
    assert FeatureSpec.of_names(SPEC.session, **sizes) == SPEC


def test_serving_inputs():
    inputs = SPEC.serving_inputs()
    assert inputs["user_id"] == (Kind.STRING, 1) and inputs["user_tenure_days"] == (Kind.FLOAT, 1)
    assert inputs["timestamp"] == (Kind.INT, 1) and inputs["epsilon"] == (Kind.FLOAT, 1)
    assert inputs["history_tags"] == inputs["candidate_tags"] == inputs["profile_tag"] == (Kind.STRING, 2)
    assert inputs["candidate_item_length_seconds"] == (Kind.FLOAT, 2)
    labels = {"request_id", "clicks", "weight", "candidate_clicks", "candidate_channel_clicks", "propensity_item"}
    assert not labels & set(inputs)
