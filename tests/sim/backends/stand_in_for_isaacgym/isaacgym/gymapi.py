"""STAND-IN for Isaac Gym, for tests only: the calls of `isaacgym.gymapi` that our worker makes, with MuJoCo inside.

It is not Isaac Gym, contains nothing of it, and no claim about Isaac Gym's physics rests on it. It lets the worker run under a
real CPython 3.8, and its states, torques and contact forces are those of a true simulation in single precision, so that tests can
check numbers. The variable `STAND_IN_ISAACGYM` (JSON) makes it follow other conventions, or fail: `rate_frame`, `velocity_point`,
`angles`, `mass_factor`, `has_contacts`, `fault` with `at` (number of the substep).
"""

import ctypes
import json
import os
import signal
import sys
import time
from xml.etree import ElementTree

import mujoco
import numpy as np
from isaacgym import mujoco_inside as inside

OPTIONS = {
    "rate_frame": "child", "velocity_point": "com", "angles": "rotation_vector", "mass_factor": 1.0, "has_contacts": True,
    "fault": "", "at": 3,
}  # fmt: skip
OPTIONS.update(json.loads(os.environ.get("STAND_IN_ISAACGYM", "{}")))
print("STAND-IN for Isaac Gym: a test is running")  # the real one prints too
if OPTIONS["fault"] == "import":
    raise ImportError("libpython3.8m.so.1.0: cannot open shared object file")

UP_AXIS_Z, SIM_PHYSX, CC_ALL_SUBSTEPS, DTYPE_FLOAT32 = 1, 1, 2, 0
DOF_MODE_POS, DOF_MODE_EFFORT = 1, 3
DOF_PROPERTIES = [
    ("hasLimits", "?"), ("lower", "<f4"), ("upper", "<f4"), ("driveMode", "<i4"), ("velocity", "<f4"), ("effort", "<f4"),
    ("stiffness", "<f4"), ("damping", "<f4"), ("friction", "<f4"), ("armature", "<f4"),
]  # fmt: skip
PLACE = [("x", "<f4"), ("y", "<f4"), ("z", "<f4")]
CONTACT = [
    ("env0", "<i4"), ("env1", "<i4"), ("body0", "<i4"), ("body1", "<i4"), ("localPos0", PLACE), ("localPos1", PLACE),
    ("normal", PLACE), ("lambda", "<f4"),
]  # fmt: skip


class Vec3:
    def __init__(self, x=0.0, y=0.0, z=0.0):
        self.x, self.y, self.z = np.float32([x, y, z]).tolist()


class _Bag:
    """A structure of the API: fields are set by name, and only those that it has."""

    fields = {}

    def __init__(self):
        for name, value in self.fields.items():
            object.__setattr__(self, name, value() if callable(value) else value)

    def __setattr__(self, name, value):
        if name not in self.fields:
            raise AttributeError(name)
        object.__setattr__(self, name, value)


class Mat33(_Bag):
    fields = {"x": Vec3, "y": Vec3, "z": Vec3}


class RigidBodyProperties(_Bag):
    fields = {"mass": 1.0, "com": Vec3, "inertia": Mat33}


class RigidShapeProperties(_Bag):
    fields = {"friction": 1.0, "restitution": 0.0, "filter": 0, "contact_offset": 0.02, "rest_offset": 0.0}


class PhysXParams(_Bag):
    fields = {
        "use_gpu": True, "num_threads": 0, "solver_type": 1, "num_position_iterations": 4, "num_velocity_iterations": 1,
        "contact_offset": 0.02, "rest_offset": 0.0, "contact_collection": 2,
    }  # fmt: skip


class SimParams(_Bag):
    fields = {
        "dt": 1 / 60,
        "substeps": 2,
        "up_axis": 0,
        "gravity": Vec3,
        "use_gpu_pipeline": True,
        "physx": PhysXParams,
    }


class PlaneParams(_Bag):
    fields = {"normal": Vec3, "distance": 0.0, "restitution": 0.0, "static_friction": 1.0, "dynamic_friction": 1.0}


class AssetOptions(_Bag):
    fields = {
        "angular_damping": 0.5, "linear_damping": 0.0, "max_angular_velocity": 64.0, "max_linear_velocity": 1000.0,
        "enable_gyroscopic_forces": True, "use_physx_armature": True, "armature": 0.0, "collapse_fixed_joints": False,
        "replace_cylinder_with_capsule": False, "default_dof_drive_mode": 0,
    }  # fmt: skip


class Tensor(_Bag):
    fields = {"device": 0, "dtype": 0, "own_data": True, "shape": (), "data_address": 0}


class Transform:
    pass


def _array(tensor):
    assert tensor.device == -1 and tensor.dtype == DTYPE_FLOAT32
    size = int(np.prod(tensor.shape))
    return np.ctypeslib.as_array((ctypes.c_float * size).from_address(tensor.data_address)).reshape(tensor.shape)


class _Sim:
    def __init__(self, params):
        self.params, self.friction, self.actors, self.substeps = params, 1.0, [], 0
        self.model, self.data, self.buffers, self.is_broken = None, [], {}, False


class _Asset:
    def __init__(self, path):
        self.text = ElementTree.parse(path).getroot()
        self.bodies = [body.get("name") for body in self.text.iter("body")]
        self.dofs = [joint.get("name") for joint in self.text.iter("joint")]
        axes = [joint.get("axis") for joint in self.text.iter("joint")]
        assert axes == ["1 0 0", "0 1 0", "0 0 1"] * (len(self.dofs) // 3)
        self.num_shapes = len(list(self.text.iter("geom")))


class _Env:
    def __init__(self, sim):
        self.sim, self.place, self.actor = sim, len(sim.actors), None


class _Actor:
    def __init__(self, asset):
        self.asset = asset
        self.bodies = [RigidBodyProperties() for _ in asset.bodies]
        self.shapes = [RigidShapeProperties() for _ in range(asset.num_shapes)]
        self.dofs = np.zeros(len(asset.dofs), dtype=DOF_PROPERTIES)


class Gym:
    def create_sim(self, compute_device, graphics_device, kind, params):
        assert kind == SIM_PHYSX and graphics_device == -1 and not params.use_gpu_pipeline and params.substeps == 1
        assert params.up_axis == UP_AXIS_Z and params.physx.contact_collection == CC_ALL_SUBSTEPS
        return _Sim(params)

    def add_ground(self, sim, plane):
        assert (plane.normal.z, plane.distance) == (1.0, 0.0)
        sim.friction = plane.static_friction

    def load_asset(self, sim, folder, name, options):
        assert options.angular_damping == options.linear_damping == 0.0
        return _Asset(os.path.join(folder, name))

    def get_asset_rigid_body_names(self, asset):
        return asset.bodies

    def get_asset_dof_names(self, asset):
        return asset.dofs

    def create_env(self, sim, lower, upper, per_row):
        assert (lower.x, lower.y, upper.x, upper.y) == (0.0, 0.0, 0.0, 0.0)
        return _Env(sim)

    def create_actor(self, env, asset, pose, name, group, collision_filter):
        assert group == env.place and collision_filter == 1
        env.actor = _Actor(asset)
        env.sim.actors.append(env.actor)
        return 0

    def get_actor_rigid_body_names(self, env, actor):
        return env.actor.asset.bodies

    def get_actor_rigid_body_properties(self, env, actor):
        return env.actor.bodies

    def set_actor_rigid_body_properties(self, env, actor, properties, recompute):
        for item in properties:
            item.mass *= OPTIONS["mass_factor"]
        env.actor.bodies = properties
        return True

    def get_actor_rigid_shape_properties(self, env, actor):
        return env.actor.shapes

    def set_actor_rigid_shape_properties(self, env, actor, properties):
        env.actor.shapes = properties
        return True

    def get_actor_dof_properties(self, env, actor):
        return env.actor.dofs.copy()

    def set_actor_dof_properties(self, env, actor, properties):
        env.actor.dofs = properties
        return True

    def enable_actor_dof_force_sensors(self, env, actor):
        return True

    def prepare_sim(self, sim):
        sim.model = mujoco.MjModel.from_xml_string(inside.model_text(sim))
        sim.data = [mujoco.MjData(sim.model) for _ in sim.actors]
        count, dofs, bodies = len(sim.actors), sim.model.nu, sim.model.nbody - 1
        shapes = {"root": (count, 13), "dof": (count * dofs, 2), "body": (count * bodies, 13)}
        shapes.update({"force": (count * bodies, 3), "sensed": (count * dofs,), "targets": (count * dofs,)})
        sim.buffers = {name: np.zeros(shape, dtype=np.float32) for name, shape in shapes.items()}
        return True

    def _tensor(self, sim, name):
        tensor, values = Tensor(), sim.buffers[name]
        tensor.device, tensor.dtype, tensor.shape = -1, DTYPE_FLOAT32, values.shape
        tensor.data_address = values.ctypes.data
        return tensor

    def acquire_actor_root_state_tensor(self, sim):
        return self._tensor(sim, "root")

    def acquire_dof_state_tensor(self, sim):
        return self._tensor(sim, "dof")

    def acquire_rigid_body_state_tensor(self, sim):
        return self._tensor(sim, "body")

    def acquire_net_contact_force_tensor(self, sim):
        return self._tensor(sim, "force")

    def acquire_dof_force_tensor(self, sim):
        return self._tensor(sim, "sensed")

    def set_actor_root_state_tensor(self, sim, tensor):
        com = [sim.actors[0].bodies[0].com.x, sim.actors[0].bodies[0].com.y, sim.actors[0].bodies[0].com.z]
        for row, data in zip(_array(tensor), sim.data):
            data.qpos[:3], data.qpos[3:7] = row[:3], row[[6, 3, 4, 5]]
            arm = inside.rotated(data.qpos[3:7], com) if OPTIONS["velocity_point"] == "com" else np.zeros(3)
            data.qvel[:3] = row[7:10] - np.cross(row[10:13], arm)
            data.qvel[3:6] = inside.rotated(inside.inverse(data.qpos[3:7]), row[10:13])
        return True

    def set_dof_state_tensor(self, sim, tensor):
        for rows, data in zip(_array(tensor).astype(np.float64).reshape(len(sim.data), -1, 3, 2), sim.data):
            for j, (angle, rate) in enumerate(np.moveaxis(rows, -1, 1)):
                quat, length = np.array([1.0, 0.0, 0.0, 0.0]), np.linalg.norm(angle)
                if length > 0:
                    mujoco.mju_axisAngle2Quat(quat, angle / length, length)
                data.qpos[7 + 4 * j : 11 + 4 * j] = quat
                child = rate if OPTIONS["rate_frame"] == "child" else inside.rotated(inside.inverse(quat), rate)
                data.qvel[6 + 3 * j : 9 + 3 * j] = child
        return True

    def set_dof_actuation_force_tensor(self, sim, tensor):
        assert np.all(sim.actors[0].dofs["driveMode"] == DOF_MODE_EFFORT)
        sim.buffers["targets"][:] = _array(tensor)
        return True

    def set_dof_position_target_tensor(self, sim, tensor):
        assert np.all(sim.actors[0].dofs["driveMode"] == DOF_MODE_POS)
        sim.buffers["targets"][:] = _array(tensor)
        return True

    def simulate(self, sim):
        sim.substeps += 1
        if sim.substeps == OPTIONS["at"]:
            _fail(OPTIONS["fault"], sim)
        force, sensed = sim.buffers["force"], sim.buffers["sensed"].reshape(len(sim.data), -1)
        for place, data in enumerate(sim.data):
            data.ctrl[:] = sim.buffers["targets"].reshape(len(sim.data), -1)[place]
            before = data.qvel.copy()
            mujoco.mj_step(sim.model, data)
            data.qpos[:], data.qvel[:] = inside.single(data.qpos), inside.single(data.qvel)
            damped = sim.actors[0].dofs["damping"] * (data.qvel - before)[6:]
            sensed[place] = data.qfrc_actuator[6:] - np.where(inside.is_saturated(sim, data), 0.0, damped)
            net = np.zeros((sim.model.nbody, 3))
            for body, _, wrench, _ in inside.contacts(sim.model, data):
                net[body] += wrench
            force.reshape(len(sim.data), -1, 3)[place] = net[1:]

    def fetch_results(self, sim, is_waiting):
        assert is_waiting

    def refresh_actor_root_state_tensor(self, sim):
        for row, data in zip(sim.buffers["root"], sim.data):
            row[:3], row[3:7] = data.qpos[:3], data.qpos[[4, 5, 6, 3]]
            row[10:13] = inside.rotated(data.qpos[3:7], data.qvel[3:6])
            arm = (
                inside.rotated(data.qpos[3:7], sim.model.body_ipos[1])
                if OPTIONS["velocity_point"] == "com"
                else np.zeros(3)
            )
            row[7:10] = data.qvel[:3] + np.cross(inside.rotated(data.qpos[3:7], data.qvel[3:6]), arm)

    def refresh_dof_state_tensor(self, sim):
        for rows, data in zip(sim.buffers["dof"].reshape(len(sim.data), -1, 3, 2), sim.data):
            for j in range(len(rows)):
                quat, rate = data.qpos[7 + 4 * j : 11 + 4 * j], data.qvel[6 + 3 * j : 9 + 3 * j]
                angle = np.empty(3)
                mujoco.mju_quat2Vel(angle, quat, 1.0)
                rows[j, :, 0] = inside.euler(quat) if OPTIONS["angles"] == "euler" else angle
                rows[j, :, 1] = rate if OPTIONS["rate_frame"] == "child" else inside.rotated(quat, rate)
        if sim.is_broken:
            sim.buffers["dof"][0] = np.nan

    def refresh_rigid_body_state_tensor(self, sim):
        for rows, data in zip(sim.buffers["body"].reshape(len(sim.data), -1, 13), sim.data):
            now = mujoco.MjData(sim.model)
            now.qpos[:], now.qvel[:] = data.qpos, data.qvel
            mujoco.mj_forward(sim.model, now)
            rows[:, :3], rows[:, 3:7] = now.xpos[1:], now.xquat[1:, [1, 2, 3, 0]]
            for body in range(1, sim.model.nbody):
                moving = np.empty(6)
                mujoco.mj_objectVelocity(sim.model, now, mujoco.mjtObj.mjOBJ_XBODY, body, moving, 0)
                arm = now.xipos[body] - now.xpos[body] if OPTIONS["velocity_point"] == "com" else np.zeros(3)
                rows[body - 1, 7:10], rows[body - 1, 10:] = moving[3:] + np.cross(moving[:3], arm), moving[:3]

    def refresh_net_contact_force_tensor(self, sim):
        pass  # filled by simulate

    def refresh_dof_force_tensor(self, sim):
        pass  # filled by simulate

    def get_env_rigid_contacts(self, env):
        if not OPTIONS["has_contacts"]:
            return np.zeros(0)
        rows = []
        for body, local, _, normal in inside.contacts(env.sim.model, env.sim.data[env.place]):
            rows.append((env.place, -1, body - 1, -1, tuple(local), (0.0, 0.0, 0.0), (0.0, 0.0, -1.0), normal))
        return np.array(rows, dtype=CONTACT)


def acquire_gym():
    return Gym()


def _fail(fault, sim):
    if fault == "raise":
        raise RuntimeError("PhysX: out of memory")
    if fault == "exit":
        os._exit(3)
    if fault in ("kill", "segmentation"):
        os.kill(os.getpid(), signal.SIGKILL if fault == "kill" else signal.SIGSEGV)
    if fault == "garbage":
        os.write(
            int(sys.argv[sys.argv.index("--replies") + 1]), b"Segmentation fault (core dumped), or any other text\n"
        )
    if fault == "hang":
        time.sleep(1e6)
    if fault == "hang_in_c":
        ctypes.PyDLL(None).sleep(1000000)  # holds the interpreter's lock, as a call into PhysX does
    sim.is_broken = fault == "nan"
