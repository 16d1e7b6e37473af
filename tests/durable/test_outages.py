"""What may pass is asked again, and what does not is not."""

from __future__ import annotations

import pytest

from steadystack.durable import retry_read


@pytest.mark.parametrize("times", [2, 99])
def test_a_store_that_is_away_for_a_moment_is_asked_again(monkeypatch, times):
    monkeypatch.setattr("steadystack.durable.outages.PAUSES_S", (0.0, 0.0, 0.0))
    asked = []

    def away():
        asked.append(1)
        if len(asked) <= times:
            raise ConnectionResetError("by peer")
        return "there"

    if times == 2:
        assert retry_read(away) == "there"
    else:
        with pytest.raises(ConnectionResetError):
            retry_read(away)
        assert len(asked) == 4


@pytest.mark.parametrize("error", [FileNotFoundError("x"), ValueError("torn"), IsADirectoryError()])
def test_what_does_not_pass_is_not_asked_again(error):
    asked = []

    def torn():
        asked.append(1)
        raise error

    with pytest.raises(type(error)):
        retry_read(torn)
    assert len(asked) == 1
