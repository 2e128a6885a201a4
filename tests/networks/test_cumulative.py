import numpy as np
import pytest
import tensorflow as tf

from hrlrec_tf.features import FeatureSpec
from hrlrec_tf.networks.cumulative import CumulativePath, Placed, Profile, read_placed, read_profile
from hrlrec_tf.networks.embeddings import SessionEmbedding

DIM, CHANNELS = 8, 4


@pytest.fixture(scope="module")
def embedding():
    return SessionEmbedding(FeatureSpec(3, 2, 2), {"user_id": 4, "item_id": 6, "channel": CHANNELS, "tags": 5}, DIM)


def profile_batch(**given) -> dict[str, tf.Tensor]:
    values = {
        "profile_channel": [[2, 1, 0], [0, 0, 0]],
        "profile_channel_impressions": [[10, 4, 0], [0, 0, 0]],
        "profile_channel_clicks": [[3, 1, 0], [0, 0, 0]],
        "profile_tag": [[3, 4], [0, 0]],
        "profile_tag_impressions": [[3, 1], [0, 0]],
        "profile_tag_clicks": [[0, 2], [0, 0]],
    }
    return {name: tf.constant(value, tf.int64) for name, value in {**values, **given}.items()}


def test_profile_by_hand(embedding):
    profile = read_profile(embedding, profile_batch())
    tags = embedding.items.tables["tags"](tf.range(5)).numpy()
    np.testing.assert_allclose(profile.impressions, [[0, 4, 10, 0], [0] * 4])
    np.testing.assert_allclose(profile.clicks, [[0, 1, 3, 0], [0] * 4])
    np.testing.assert_allclose(profile.shown_tags, [0.75 * tags[3] + 0.25 * tags[4], [0] * DIM], atol=1e-6)
    np.testing.assert_allclose(profile.clicked_tags, [tags[4], [0] * DIM], atol=1e-6)


def test_padding_of_the_profile_counts_for_nothing(embedding):
    padded = profile_batch()
    padded = {name: tf.pad(values, [[0, 0], [0, 3]]) for name, values in padded.items()}
    for mine, other in zip(read_profile(embedding, profile_batch()), read_profile(embedding, padded)):
        np.testing.assert_allclose(mine, other, atol=1e-6)


def test_a_user_without_a_profile_has_zeros(embedding):
    nothing = {name: tf.zeros([1, 0], tf.int64) for name in profile_batch()}
    for values in read_profile(embedding, nothing):
        assert np.abs(values.numpy()).max() == 0


def test_what_a_row_adds(embedding):
    placed = read_placed(embedding, tf.constant([[2, 0]]), tf.constant([[[1, 3], [0, 0]]]))
    tags = embedding.items.tables["tags"](tf.range(5)).numpy()
    np.testing.assert_allclose(placed.channels[0, 0], [0, 0, 1, 0])
    np.testing.assert_allclose(placed.tags[0], [(tags[1] + tags[3]) / 2, [0] * DIM], atol=1e-6)


RNG = np.random.default_rng(4)


def random(*shape: int) -> tf.Tensor:
    return tf.constant(RNG.uniform(0, 5, shape), tf.float32)


class TestPath:
    """Two users, three positions."""

    profile = Profile(random(2, CHANNELS), random(2, CHANNELS), random(2, DIM), random(2, DIM))
    placed = Placed(random(2, 3, CHANNELS), random(2, 3, DIM))
    context = random(2, 3, DIM)
    constraint = tf.one_hot([[1, 2, 3], [2, 2, 0]], CHANNELS)

    @pytest.fixture(params=[False, True], ids=["channel", "item"])
    def inputs(self, request):
        return (self.profile, self.placed, self.context) + ((self.constraint,) if request.param else ())

    def test_value(self, inputs):
        path = CumulativePath(5)
        embedded = path(*inputs).numpy()
        assert embedded.shape == (2, 3, 5)
        shown = self.profile.impressions.numpy()[1] + self.placed.channels.numpy()[1, 2]
        clicked = self.profile.clicks.numpy()[1]
        rates = (clicked + 0.5) / (shown + 5)
        counted = [np.log1p(shown), np.log1p(clicked), rates, self.placed.channels.numpy()[1, 2]]
        overall = [np.log1p([shown.sum()]), np.log1p([clicked.sum()]), [(clicked.sum() + 0.5) / (shown.sum() + 5)]]
        parts = [*counted, *overall, self.placed.tags.numpy()[1, 2], self.context.numpy()[1, 2]]
        if len(inputs) == 4:
            channel = int(np.argmax(self.constraint[1, 2]))
            parts += [np.array([values[channel] for values in counted]), self.constraint.numpy()[1, 2]]
        parts += [self.profile.shown_tags.numpy()[1], self.profile.clicked_tags.numpy()[1]]
        expected = np.tanh(np.concatenate(parts) @ path.dense.kernel.numpy() + path.dense.bias.numpy())
        np.testing.assert_allclose(embedded[1, 2], expected, atol=1e-5)

    def test_serialises(self, inputs):
        path = CumulativePath(5)
        path(*inputs)
        copy = CumulativePath.from_config(path.get_config())
        copy(*inputs)
        copy.set_weights(path.get_weights())
        np.testing.assert_array_equal(copy(*inputs), path(*inputs))
