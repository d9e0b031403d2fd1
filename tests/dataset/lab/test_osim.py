import numpy as np
import pytest

from dataset.lab.opensim import read_storage, write_storage
from dataset.lab.osim import body_frames, coordinate_values, read_osim
from dataset.lab.osim_functions import simm_spline

MODEL = """<OpenSimDocument Version="40000"><Model name="arm">
<BodySet><objects>
  <Body name="upper"><mass>2</mass><mass_center>0 -0.1 0</mass_center><inertia>0.1 0.2 0.3 0.01 0 0</inertia></Body>
  <Body name="lower"><mass>1</mass></Body>
</objects></BodySet>
<JointSet><objects>
  <PinJoint name="elbow"><socket_parent_frame>a</socket_parent_frame><socket_child_frame>/bodyset/lower</socket_child_frame>
    <coordinates><Coordinate name="bend"><default_value>0.25</default_value></Coordinate></coordinates>
    <frames><PhysicalOffsetFrame name="a"><socket_parent>/bodyset/upper</socket_parent>
      <translation>0 -0.3 0</translation><orientation>0 1.5707963267948966 0</orientation></PhysicalOffsetFrame></frames>
  </PinJoint>
  <CustomJoint name="shoulder"><socket_parent_frame>/ground</socket_parent_frame>
    <socket_child_frame>/bodyset/upper</socket_child_frame>
    <coordinates><Coordinate name="swing"/><Coordinate name="rise"/></coordinates>
    <SpatialTransform>
      <TransformAxis name="rotation1"><coordinates>swing</coordinates><axis>0 0 1</axis>
        <LinearFunction><coefficients>2 0</coefficients></LinearFunction></TransformAxis>
      <TransformAxis name="translation2"><coordinates>rise</coordinates><axis>0 1 0</axis>
        <MultiplierFunction><function><PolynomialFunction><coefficients>1 0 0</coefficients></PolynomialFunction></function>
          <scale>3</scale></MultiplierFunction></TransformAxis>
    </SpatialTransform>
  </CustomJoint>
</objects></JointSet>
<MarkerSet><objects><Marker name="tip">
  <socket_parent_frame>/bodyset/lower</socket_parent_frame><location>0 -0.2 0</location></Marker>
</objects></MarkerSet>
</Model></OpenSimDocument>"""


@pytest.fixture
def model_path(tmp_path):
    path = tmp_path / "arm.osim"
    path.write_text(MODEL)
    return path


def test_bodies_are_where_the_joints_put_them(model_path):
    model = read_osim(model_path)
    half_pi = np.array([np.pi / 2.0])
    frames = body_frames(model, {"swing": half_pi / 2.0, "rise": np.array([2.0]), "bend": half_pi})
    # OpenSim's y is the world's z. Risen by 3 · 2² = 12 m, swung by 2 · 45 degrees from hanging to pointing along +x.
    np.testing.assert_allclose(frames["upper"][1][0], (0.0, 0.0, 12.0), atol=1e-12)
    np.testing.assert_allclose(frames["lower"][1][0], (0.3, 0.0, 12.0), atol=1e-12)
    # The elbow's axis is the upper body's x (z turned by 90 degrees about y), which now points up (OpenSim y).
    tip = frames["lower"][0][0] @ model.markers["tip"][1]
    upper = frames["upper"][0][0]
    axis = upper @ (1.0, 0.0, 0.0)
    np.testing.assert_allclose(axis, (0.0, 0.0, 1.0), atol=1e-12)
    assert np.linalg.norm(tip) == pytest.approx(0.2)


def test_masses_markers_and_defaults_are_read(model_path):
    model = read_osim(model_path)
    assert model.mass == 3.0
    np.testing.assert_array_equal(model.bodies["upper"].inertia[0], (0.1, 0.01, 0.0))
    assert model.defaults == {"bend": 0.25, "swing": 0.0, "rise": 0.0}
    assert [joint.child for joint in model.joints] == ["upper", "lower"]  # parents first, whatever the file's order
    assert model.is_rotational("swing")
    assert not model.is_rotational("rise")


def test_only_angles_are_converted_from_degrees(model_path, tmp_path):
    storage = tmp_path / "ik.sto"
    write_storage(
        storage, np.array([0.0, 0.1]), ["/jointset/shoulder/swing/value", "rise"], np.array([[90.0, 2.0], [0, 0]])
    )
    storage.write_text(storage.read_text().replace("inDegrees=no", "inDegrees=yes"))
    values = coordinate_values(read_osim(model_path), read_storage(storage))
    np.testing.assert_allclose(values["swing"], (np.pi / 2.0, 0.0))
    np.testing.assert_array_equal(values["rise"], (2.0, 0.0))
    np.testing.assert_array_equal(values["bend"], 0.25)


def test_a_spline_through_a_cubic_is_the_cubic():
    knots = np.array([0.0, 0.4, 1.0, 1.3, 2.0])
    cubic = np.polynomial.Polynomial([1.0, -2.0, 0.5, 3.0])
    spline, inside = simm_spline(knots, cubic(knots)), np.linspace(0.0, 2.0, 41)
    np.testing.assert_allclose(spline(inside), cubic(inside), atol=1e-12)
    # outside it goes on along the end's tangent
    np.testing.assert_allclose(spline(np.array([-1.0])), cubic(0.0) - cubic.deriv()(0.0), atol=1e-12)
    np.testing.assert_allclose(spline(np.array([3.0])), cubic(2.0) + cubic.deriv()(2.0), atol=1e-12)


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ('Version="40000"', 'Version="30000"', "open the model in OpenSim 4"),
        ("<PolynomialFunction>", "<SineFunction>", "SineFunction"),
        ("PinJoint", "BallJoint", "BallJoint; replace it"),
        ("</Model>", "</Modell>", "mismatched tag"),
        ('<Body name="lower">', '<Body name="lost"><mass>1</mass></Body><Body name="lower">', "none for lost"),
    ],
)
def test_what_cannot_be_read_is_named(model_path, old, new, found):
    text = MODEL.replace(old, new)
    if old == "<PolynomialFunction>":
        text = text.replace("</PolynomialFunction>", "</SineFunction>")
    model_path.write_text(text)
    with pytest.raises(ValueError, match=found):
        read_osim(model_path)


@pytest.mark.data
def test_a_real_knee_rolls_as_opensim_has_it(data_dir):
    # Origin of tibia and calcaneus of the scaled Rajagopal model with knee 0.9, ankle -0.2, subtalar 0.15 rad and the pelvis
    # 0.93 m up, all else zero: OpenSim 4.6, Body.getTransformInGround.
    model = read_osim(data_dir / "lab/uhlrich_treadmill60s/Rajagopal_scaled_Sub1_gasAvoid.osim")
    values = {name: np.zeros(1) for name in model.defaults} | {
        "pelvis_ty": np.array([0.93]), "knee_angle_r": np.array([0.9]), "ankle_angle_r": np.array([-0.2]),
        "subtalar_angle_r": np.array([0.15]),
    }  # fmt: skip
    frames = body_frames(model, values)
    for name, golden in GOLDEN.items():
        x, y, z = golden
        np.testing.assert_allclose(frames[name][1][0], (x, -z, y), atol=1e-9)


GOLDEN = {
    "tibia_r": (-0.057699645790, 0.395400963593, 0.110287352249),
    "calcn_r": (-0.499977411075, 0.137236923572, 0.114013369813),
}
"""OpenSim axes [m]."""
