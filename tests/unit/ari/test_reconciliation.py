"""What becomes of the channels and bridges that no call owns: pure."""

import pytest

from agentd.ari.events import Channel
from agentd.ari.reconciliation import Fate, fate, is_leg, leg_id


@pytest.mark.parametrize(
    ("channel", "becomes"),
    [
        (Channel("1700000000.1", application="agentd"), Fate.HAND_BACK),
        (Channel("1700000000.1", application="agentd-2"), Fate.LEAVE_ALONE),
        (Channel("1700000000.1", application=""), Fate.LEAVE_ALONE),
        (Channel("1700000000.1", application=None), Fate.LEAVE_ALONE),
        (Channel("agentd-leg-media-00ff", application="agentd"), Fate.REMOVE),
        (Channel("agentd-leg-snoop-00ff", application="agentd"), Fate.REMOVE),
        (Channel("agentd-leg-far-00ff", application=""), Fate.REMOVE),
        (Channel("agentd-2-leg-media-00ff", application="agentd-2"), Fate.LEAVE_ALONE),
        (Channel("agentd-doctor-12345678-media", application="agentd-doctor-12345678"), Fate.LEAVE_ALONE),
    ],
)
def test_callers_in_the_application_go_on_its_legs_go_and_all_else_is_left_alone(
    channel: Channel, becomes: Fate
) -> None:
    assert fate(channel, "agentd") is becomes


def test_a_leg_is_known_by_its_id() -> None:
    assert is_leg("agentd", leg_id("agentd", "bridge", "00ff"))
    assert not is_leg("agentd", leg_id("agentd-2", "bridge", "00ff"))
    assert not is_leg("agentd", "1700000000.1")
