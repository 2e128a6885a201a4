"""Values drawn from a range, as they are run."""

import pytest

from hrlrec_tf.tuning.space import Range


@pytest.mark.parametrize(("drawn", "run"), [(31.2, 30), (30.6, 30), (4.4, 5), (17.6, 18)])
def test_whole_numbers_stay_inside_their_range(drawn: float, run: int) -> None:
    assert Range(5, 30, integer=True, log=True).settle(drawn) == run
    assert isinstance(Range(5, 30, integer=True, log=True).settle(drawn), int)


def test_rounding_does_not_leave_the_range() -> None:
    kind = Range(0.12354321, 0.98765432, integer=False, log=False)
    assert kind.settle(0.12354321) == 0.12354321 and kind.settle(0.98765432) == 0.98765432
