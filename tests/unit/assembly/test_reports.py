"""What the daemon says of itself."""

from __future__ import annotations

import pytest

from watcher.assembly.reports import api_figures
from watcher.compressor.circuit_state import Phase
from watcher.compressor.gate import ApiState
from watcher.model import Event


@pytest.mark.parametrize("cause", [None, Event.API_QUOTA, Event.API_UNAVAILABLE])
@pytest.mark.parametrize("phase", list(Phase))
def test_each_phase_of_the_way_to_the_api_has_words(phase: Phase, cause: Event | None) -> None:
    """The report is made once a second, whatever the circuit is about: a phase without words would end the daemon."""
    figures = api_figures(ApiState(phase, cause, 1.0, "told", waiting=1, in_flight=2))

    assert figures.words
    assert figures.message == ("" if phase is Phase.CLOSED else "told")
