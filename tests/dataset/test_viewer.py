"""Animations: one file that stands alone, numbers that survive the packing, refusal of what does not fit."""

import base64
import json
import re

import numpy as np
import pytest

from dataset.viewer import MISSING, Arrow, Panel, view_page, write_view


def page_data(page):
    """The data a page carries, as its script reads them."""
    return json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)[1])


def unpack(text, shape):
    code = np.frombuffer(base64.b64decode(text), dtype="<i2").reshape(shape)
    return np.where(code == MISSING, np.nan, code / 1000.0)


@pytest.fixture
def panel():
    rng = np.random.default_rng(0)
    joints = rng.normal(size=(5, 24, 3)) + np.array([100.0, -50.0, 1.0])
    markers = rng.normal(size=(5, 7, 3)) + np.array([100.0, -50.0, 1.0])
    markers[2, 3] = np.nan
    arrow = Arrow(point=joints[:, 7], force=np.tile([10.0, -20.0, 700.0], (5, 1)), colour="left")
    return Panel(title="<b>who</b> & what", joint_pos=joints, markers=markers, arrows=(arrow,))


def test_positions_come_back_to_the_millimetre_and_gaps_stay_gaps(panel):
    """Packed relative to the start, so a laboratory far from its origin loses nothing."""
    data = page_data(view_page([panel]))
    start, found = np.array(data["start"]), data["panels"][0]
    assert np.abs(unpack(found["joints"]["data"], (5, 24, 3)) + start - panel.joint_pos).max() < 6e-4
    markers = unpack(found["markers"]["data"], (5, 7, 3)) + start
    assert (np.isnan(markers) == np.isnan(panel.markers)).all()
    force = unpack(found["arrows"][0]["force"], (5, 3))
    assert np.allclose(force, [0.010, -0.020, 0.700])


def test_panels_of_different_length_share_a_clock_and_a_page(panel, tmp_path):
    """Two figures side by side; the page runs to the end of the longer one."""
    longer = Panel(title="longer", joint_pos=np.zeros((9, 24, 3)) + panel.joint_pos[:1])
    path = write_view(tmp_path / "view.html", [panel, longer], rate=30.0, title="A </script> title")
    page = path.read_text()
    data = page_data(page)
    assert data["frames"] == 9
    assert [item["frames"] for item in data["panels"]] == [5, 9]
    assert "A </script> title" not in page
    assert "{{" not in page
    for outside in ("http://", "https://", "@import"):
        assert outside not in page


def test_what_cannot_be_shown_is_refused(panel):
    """No panel, an empty panel, shapes that disagree, positions beyond 16 bits."""
    with pytest.raises(ValueError, match="at least one"):
        view_page([])
    with pytest.raises(ValueError, match="joint_pos or markers"):
        view_page([Panel(title="nothing")])
    wrong = Arrow(point=np.zeros((4, 3)), force=np.zeros((5, 3)))
    with pytest.raises(ValueError, match="expected shapes"):
        view_page([Panel(title="x", joint_pos=panel.joint_pos, arrows=(wrong,))])
    far = panel.joint_pos.copy()
    far[4] += 40.0
    with pytest.raises(ValueError, match="within 32"):
        view_page([Panel(title="x", joint_pos=far)])
