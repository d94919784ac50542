"""Lanes never share cores; heats keep their times; a silent lane is found before the talk."""

import itertools

import pytest
import small_talk

from fflib.files import InputError
from fflib.talk import race


@pytest.mark.parametrize("cores", [1, 2, 3, 4, 5, 8, 64])
@pytest.mark.parametrize("lanes", [1, 3, 4])
def test_lanes_never_share_cores(cores, lanes):
    available = tuple(range(0, 2 * cores, 2))
    mode, heats = race.plan(lanes, 10.0, available)
    assert mode == ("split" if cores >= 4 else "ghost")
    assert [lane for heat in heats for lane in heat.lanes] == list(range(lanes))  # each once, in order
    for heat in heats:
        used = [core for share in heat.cores for core in share]
        assert len(used) == len(set(used)) and set(used) <= set(available)
        assert len({len(share) for share in heat.cores}) == 1 and len(heat.lanes) == len(heat.cores)
    for one, other in itertools.pairwise(heats):
        assert other.start_ms - one.end_ms == 1e3 * race.GAP_S
    if mode == "ghost":
        assert all(heat.cores == (available,) for heat in heats)


def test_a_race_of_four_lanes_stays_under_a_minute():
    assert race.total_s(race.plan(4, 10.0, (0, 1))[1]) < 60 > race.total_s(race.plan(4, 10.0, range(8))[1])


class Lane:
    """A worker that has answered before it is asked, and notes on which cores."""

    def __init__(self, rows, fails=False):
        self._rows, self._fails, self.asked, self.ended, self.is_over = rows, fails, [], 0, False

    def heat(self, seconds, share):
        self.asked.append((seconds, share))
        return self

    def __enter__(self):
        self.is_over = False
        return self

    def __exit__(self, *exception):
        self.ended += 1

    def rows(self, wait_s):
        if self._fails:
            raise InputError("the process is gone")
        self.is_over = True
        return self._rows


def test_events_have_the_time_of_the_race_and_the_number_of_the_lane():
    lanes = [Lane([[5, 0, 1, 5.0], [9, 1, 0, 4.0]]), Lane([[7, 0, 1, 7.0]])]
    heats = [
        race.Planned(0, 0.01, (0,), ((0, 1),)),
        race.Planned(100, 0.01, (1,), ((0, 1),)),
    ]
    rows = [row for several in race.run(lanes, heats) for row in several]
    assert [row[1:] for row in rows] == [[0, 0, 1, 5.0], [0, 1, 0, 4.0], [1, 0, 1, 7.0]]
    assert rows[0][0] >= 5 and rows[2][0] >= 107
    assert lanes[1].asked[0][1] == (0, 1) and [lane.ended for lane in lanes] == [1, 1]


def test_a_lane_that_fails_ends_the_race_and_leaves_no_heat_running():
    lanes = [Lane([[5, 0, 1, 5.0]]), Lane([], fails=True)]
    heats = race.plan(2, 0.01, range(4))[1]
    with pytest.raises(InputError, match="gone"):
        list(race.run(lanes, heats))
    assert [lane.ended for lane in lanes] == [1, 1]


def test_a_race_that_is_stopped_ends_at_once():
    lanes = [Lane([[5, 0, 1, 5.0]]), Lane([])]
    heats = [race.Planned(0, 0.01, (0,), ((0,),)), race.Planned(10**7, 0.01, (1,), ((0,),))]
    rows = list(race.run(lanes, heats, is_stopped=iter([False, True]).__next__))
    assert len(rows) == 1 and not lanes[1].asked


def test_a_silent_lane_is_found():
    heats = small_talk.heats(10.0)
    rows = small_talk.race_rows(heats)
    names = [lane["name"] for lane in small_talk.LANES]
    race.check_silence(rows, heats, names)
    gap = [row for row in rows if row[1] != 2 or not 3e3 < row[0] - heats[2].start_ms < 7e3]
    with pytest.raises(InputError, match="'fine-tuned teacher' was silent for 4.. s, more than 3.0 s"):
        race.check_silence(gap, heats, names)
    with pytest.raises(InputError, match="'the end of the story' was silent for 10.0 s"):
        race.check_silence([row for row in rows if row[1] != 3], heats, names)
    slow = [[*row[:4], 2000.0] if row[1] == 2 else row for row in gap]  # who answers slowly is given longer
    race.check_silence(slow, heats, names)
