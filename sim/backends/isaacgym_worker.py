"""Isaac Gym behind a pipe: the half that runs in the user's own CPython 3.8, beside `isaacgym` and numpy, and nothing else.

`sim.backends.isaacgym_client` starts this file with another interpreter, so it stands alone, is written in the Python of that
time, and takes its arguments as numbers of inherited descriptors. Requests and replies are small frames of JSON on two pipes;
arrays lie in shared memory, at places that the request names. Whatever `isaacgym` prints goes elsewhere (the log).

A frame: `MAGIC`, protocol version, kind, length of the JSON, number of the request, CRC-32 of the JSON; then the JSON.
One process holds one world. It ends when it is told to, at the first error, and when its host is gone: a guardian process, which
no hang of the simulator can stop, watches the lifeline pipe.

Axis legend: E environments, K substeps, N bodies and D = 69 degrees of freedom, both in the simulator's own order.
"""

# pyright: reportMissingModuleSource=false
import argparse
import ctypes
import json
import mmap
import os
import select
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
import zlib
from typing import Any, Callable, Dict, List, Optional, Tuple

VERSION = 1
"""Protocol version; both sides must agree."""
MAGIC = b"IDLG"
HEADER = struct.Struct("<4sHHIQI")
REQUEST, REPLY, PROGRESS, ERROR = 1, 2, 3, 4
MAX_JSON = 1 << 24
"""Longest frame; a longer one is no frame [bytes]."""
PYTHONS = ((3, 6), (3, 8))
"""First and last Python that `isaacgym` exists for."""
PROGRESS_EVERY = 0.5
"""Time between signs of life during a rollout [s]."""
CONTACT_FIELDS = ("body0", "body1", "localPos0", "localPos1", "lambda")


def pack(kind: int, number: int, content: Dict[str, Any]) -> bytes:
    """A frame."""
    text = json.dumps(content).encode()
    return HEADER.pack(MAGIC, VERSION, kind, len(text), number, zlib.crc32(text)) + text


def read_frame(read: Callable[[int], bytes]) -> Tuple[int, int, Dict[str, Any]]:
    """Kind, request number and content of the next frame.

    Args:
        read: Returns as many bytes as it is asked for.

    Raises:
        ValueError: What comes is no frame of this version, or not as it was sent.
    """
    header = read(HEADER.size)
    magic, version, kind, length, number, checksum = HEADER.unpack(header)
    if magic != MAGIC or length > MAX_JSON or kind not in (REQUEST, REPLY, PROGRESS, ERROR):
        raise ValueError("expected a frame of the protocol, found %r" % (header,))
    if version != VERSION:
        raise ValueError("expected protocol version %d, found %d: client and worker differ" % (VERSION, version))
    text = read(length)
    if zlib.crc32(text) != checksum:
        raise ValueError("expected the checksum %08x of a frame, found %08x" % (checksum, zlib.crc32(text)))
    return kind, number, json.loads(text.decode())


def expect(done: Any, what: str) -> None:
    """Raise a RuntimeError where the simulator says that it did not do something."""
    if done is False:
        raise RuntimeError("isaacgym refused the " + what + "; its log says why")


class World:
    """Equal humanoids over a floor, stepped one substep a call of `simulate`."""

    def __init__(self, request: Dict[str, Any]) -> None:
        import numpy
        from isaacgym import gymapi

        self.np = numpy
        self.api = gymapi
        self.gym = gymapi.acquire_gym()
        self.is_effort = request["control"] == "effort"
        self.sim = self._make_sim(request)
        asset = self._load(request)
        self.bodies = list(self.gym.get_asset_rigid_body_names(asset))
        self.dofs = list(self.gym.get_asset_dof_names(asset))
        for kind, found in (("bodies", self.bodies), ("dofs", self.dofs)):
            wanted = request[kind]
            if sorted(found) != sorted(wanted):
                odd = sorted(set(found) ^ set(wanted))
                raise RuntimeError(
                    "isaacgym read %d %s, expected %d; they differ in %s" % (len(found), kind, len(wanted), odd)
                )
        self.stiffness, self.damping, self.limit = (
            numpy.array([request["dofs"][name][key] for name in self.dofs], numpy.float32)
            for key in ("stiffness", "damping", "limit")
        )
        self.envs: List[Any] = []
        self.actors: List[int] = []
        for place in range(request["num_envs"]):
            self._add_humanoid(asset, place, request)
        expect(self.gym.prepare_sim(self.sim), "preparation of its tensors")
        self._open_tensors()

    def _open_tensors(self) -> None:
        """Views of the simulator's own memory; its `refresh_...` renew what they show."""
        count, names = len(self.envs), len(self.bodies)
        self.root = self._view(self.gym.acquire_actor_root_state_tensor(self.sim), (count, 13))
        self.dof = self._view(self.gym.acquire_dof_state_tensor(self.sim), (count, len(self.dofs), 2))
        self.body = self._view(self.gym.acquire_rigid_body_state_tensor(self.sim), (count, names, 13))
        self.force = self._view(self.gym.acquire_net_contact_force_tensor(self.sim), (count, names, 3))
        self.sensed = self._view(self.gym.acquire_dof_force_tensor(self.sim), (count, len(self.dofs)))
        fields = self.gym.get_env_rigid_contacts(self.envs[0]).dtype.names or ()
        if set(CONTACT_FIELDS) - set(fields):
            raise RuntimeError("expected contacts with %r, found %r" % (CONTACT_FIELDS, tuple(fields)))
        self.angle, self.rate = self.dof[:, :, 0].copy(), self.dof[:, :, 1].copy()

    def _make_sim(self, request: Dict[str, Any]) -> Any:
        api = self.api
        params = api.SimParams()
        # one substep a call: forces and torques are read for each, and no average hides what acted
        params.dt, params.substeps = request["substep"], 1
        params.up_axis = api.UP_AXIS_Z
        params.gravity = api.Vec3(0.0, 0.0, -request["gravity"])
        params.use_gpu_pipeline = False  # tensors in host memory, which numpy can read
        physx = params.physx
        physx.use_gpu = request["use_gpu"]
        physx.num_threads = request["threads"]
        physx.solver_type = {"pgs": 0, "tgs": 1}[request["solver"]]
        physx.num_position_iterations = request["position_iterations"]
        physx.num_velocity_iterations = request["velocity_iterations"]
        physx.contact_offset, physx.rest_offset = request["contact_offset"], 0.0
        physx.contact_collection = api.CC_ALL_SUBSTEPS
        sim = self.gym.create_sim(request["device"], -1, api.SIM_PHYSX, params)
        expect(sim is not None, "parameters of the simulation")
        plane = api.PlaneParams()
        plane.normal, plane.distance, plane.restitution = api.Vec3(0.0, 0.0, 1.0), 0.0, 0.0
        plane.static_friction = plane.dynamic_friction = request["friction"]
        self.gym.add_ground(sim, plane)
        return sim

    def _load(self, request: Dict[str, Any]) -> Any:
        options = self.api.AssetOptions()
        options.angular_damping = options.linear_damping = 0.0  # forces that no record would know of
        options.max_angular_velocity = options.max_linear_velocity = 1000.0
        options.enable_gyroscopic_forces = True
        options.use_physx_armature = True
        options.armature = 0.0  # of the links; that of the joints is a property of the degrees of freedom
        options.collapse_fixed_joints = False
        options.replace_cylinder_with_capsule = False
        options.default_dof_drive_mode = int(self.api.DOF_MODE_EFFORT)
        folder = tempfile.mkdtemp(prefix="imdylab_isaacgym_")
        try:
            with open(os.path.join(folder, "humanoid.xml"), "w") as file:
                file.write(request["model"])
            asset = self.gym.load_asset(self.sim, folder, "humanoid.xml", options)
        finally:
            shutil.rmtree(folder)
        expect(asset is not None, "humanoid's model text")
        return asset

    def _add_humanoid(self, asset: Any, place: int, request: Dict[str, Any]) -> None:
        api, gym = self.api, self.gym
        # without extent: all origins coincide, and positions are the world's; groups keep environments apart
        env = gym.create_env(self.sim, api.Vec3(0.0, 0.0, 0.0), api.Vec3(0.0, 0.0, 0.0), 1)
        # shapes that share a bit of the filter do not touch each other: the floor is all they touch, as in MuJoCo
        actor = gym.create_actor(env, asset, api.Transform(), "humanoid", place, 1)
        bodies = gym.get_actor_rigid_body_properties(env, actor)
        for name, item in zip(gym.get_actor_rigid_body_names(env, actor), bodies):
            wanted = request["bodies"][name]
            rows = [api.Vec3(*wanted["inertia"][3 * row : 3 * row + 3]) for row in range(3)]
            inertia = api.Mat33()
            inertia.x, inertia.y, inertia.z = rows
            item.mass, item.com, item.inertia = wanted["mass"], api.Vec3(*wanted["com"]), inertia
        shapes = gym.get_actor_rigid_shape_properties(env, actor)
        for shape in shapes:
            shape.friction, shape.restitution, shape.filter = request["friction"], 0.0, 1
            shape.contact_offset, shape.rest_offset = request["contact_offset"], 0.0
        dofs = gym.get_actor_dof_properties(env, actor)
        dofs["driveMode"][:] = int(api.DOF_MODE_EFFORT if self.is_effort else api.DOF_MODE_POS)
        dofs["stiffness"][:] = 0.0 if self.is_effort else self.stiffness
        dofs["damping"][:] = 0.0 if self.is_effort else self.damping
        dofs["effort"][:] = self.limit
        dofs["velocity"][:] = 1000.0
        dofs["friction"][:] = 0.0
        dofs["armature"][:] = request["armature"]
        dofs["hasLimits"][:] = False
        expect(gym.set_actor_rigid_body_properties(env, actor, bodies, False), "masses and inertias")
        expect(gym.set_actor_rigid_shape_properties(env, actor, shapes), "properties of the shapes")
        expect(gym.set_actor_dof_properties(env, actor, dofs), "properties of the joints")
        expect(gym.enable_actor_dof_force_sensors(env, actor), "force sensors of the joints")
        self.envs.append(env)
        self.actors.append(actor)

    def _view(self, tensor: Any, shape: Tuple[int, ...]) -> Any:
        """Array over the simulator's own memory."""
        wanted = int(self.np.prod(shape))
        if tensor.device != -1 or int(self.np.prod(tensor.shape)) != wanted:
            found = (shape, tuple(tensor.shape), tensor.device)
            raise RuntimeError("expected a tensor of %r in host memory, found %r on device %r" % found)
        memory = (ctypes.c_float * wanted).from_address(tensor.data_address)
        return self.np.ctypeslib.as_array(memory).reshape(shape)

    def _tensor(self, array: Any) -> Any:
        """The simulator's descriptor of an array, which must outlive its use."""
        tensor = self.api.Tensor()
        tensor.device, tensor.dtype, tensor.own_data = -1, self.api.DTYPE_FLOAT32, False
        tensor.shape, tensor.data_address = tuple(array.shape), array.ctypes.data
        return tensor

    def properties(self) -> Dict[str, Dict[str, Any]]:
        """Mass, centre of mass and inertia of each body as the simulator has them now."""
        rows = self.gym.get_actor_rigid_body_properties(self.envs[0], self.actors[0])
        found = {}
        for name, item in zip(self.bodies, rows):
            inertia = [getattr(getattr(item.inertia, row), column) for row in "xyz" for column in "xyz"]
            found[name] = {"mass": item.mass, "com": [item.com.x, item.com.y, item.com.z], "inertia": inertia}
        return found

    def reset(self, root: Any, dof: Any) -> None:
        """Put all environments into states: root (E, 13) with the quaternion last part first, dof (E, D, 2)."""
        self.held = root, dof = root.copy(), dof.copy()  # the simulator may read them as late as its next step
        expect(self.gym.set_actor_root_state_tensor(self.sim, self._tensor(root)), "root states")
        expect(self.gym.set_dof_state_tensor(self.sim, self._tensor(dof.reshape(-1, 2))), "joint states")
        self.angle, self.rate = dof[:, :, 0].copy(), dof[:, :, 1].copy()

    def substep(self, target: Any, is_free: bool) -> Any:
        """One substep under targets (E, D); the torque that was applied, or sensed under position drives, (E, D)."""
        np, gym = self.np, self.gym
        if self.is_effort:
            torque = self.stiffness * (target - self.angle) - self.damping * self.rate
            torque = np.clip(torque, -self.limit, self.limit).astype(np.float32) * (0.0 if is_free else 1.0)
            self.sent = np.ascontiguousarray(torque, dtype=np.float32)
            expect(gym.set_dof_actuation_force_tensor(self.sim, self._tensor(self.sent.reshape(-1))), "torques")
        else:
            self.sent = np.ascontiguousarray(target, dtype=np.float32)
            expect(gym.set_dof_position_target_tensor(self.sim, self._tensor(self.sent.reshape(-1))), "targets")
        gym.simulate(self.sim)
        gym.fetch_results(self.sim, True)
        gym.refresh_actor_root_state_tensor(self.sim)
        gym.refresh_dof_state_tensor(self.sim)
        gym.refresh_net_contact_force_tensor(self.sim)
        self.angle, self.rate = self.dof[:, :, 0].copy(), self.dof[:, :, 1].copy()
        gym.refresh_dof_force_tensor(self.sim)
        return self.sent if self.is_effort else self.sensed

    def contact_points(self, normal_out: Any, point_out: Any) -> None:
        """Sum of the contacts' normal forces λ (E, N) and of λ · place in the body's frame (E, N, 3), in place."""
        for place in range(len(self.envs)):
            if not self.force[place].any():
                continue
            contacts: Any = self.gym.get_env_rigid_contacts(self.envs[place])
            pressing = contacts["lambda"]
            for body, local in (("body0", "localPos0"), ("body1", "localPos1")):
                own = contacts[body]
                rows = (own >= 0) & (own < len(self.bodies)) & (pressing > 0)
                where = self.np.stack([contacts[local][axis] for axis in "xyz"], axis=-1)
                self.np.add.at(normal_out[place], own[rows], pressing[rows])
                self.np.add.at(point_out[place], own[rows], pressing[rows, None] * where[rows])


class Worker:
    """Answers requests until it is told to stop or its host is gone."""

    def __init__(self, commands: int, replies: int, memory: int) -> None:
        self.commands, self.replies, self.memory = commands, replies, memory
        self.world: Optional[World] = None
        self.is_ready = False
        self.number = 0

    def send(self, kind: int, content: Dict[str, Any]) -> None:
        """Write a frame about the present request."""
        frame = memoryview(pack(kind, self.number, content))
        while frame:
            frame = frame[os.write(self.replies, frame) :]

    def receive(self) -> Dict[str, Any]:
        """Wait for the next request; EOFError when the host is gone."""
        kind, self.number, request = read_frame(self._read)
        if kind != REQUEST:
            raise ValueError("expected a request, found a frame of kind %d" % kind)
        return request

    def _read(self, size: int) -> bytes:
        text = b""
        while len(text) < size:
            text, before = text + os.read(self.commands, size - len(text)), len(text)
            if len(text) == before:
                raise EOFError
        return text

    def greet(self) -> None:
        """Import the simulator and say which one it is."""
        if not PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]:
            found = "%s at %s" % (sys.version.split()[0], sys.executable)
            raise RuntimeError("expected CPython 3.6 to 3.8, which isaacgym is built for, found " + found)
        import numpy
        from isaacgym import gymapi

        self.is_ready = True
        self.send(REPLY, {"python": sys.version.split()[0], "numpy": numpy.__version__, "isaacgym": gymapi.__file__})

    def arrays(self, request: Dict[str, Any]) -> Dict[str, Any]:
        """Arrays in shared memory that the request names."""
        import numpy

        memory = mmap.mmap(self.memory, request["size"])
        return {
            name: numpy.ndarray(field["shape"], field["dtype"], memory, field["offset"])
            for name, field in request["fields"].items()
        }

    def answer(self, request: Dict[str, Any]) -> Dict[str, Any]:
        """Do what a request asks."""
        if request["op"] == "build":
            world = self.world = World(request)
            return {"bodies": world.bodies, "dofs": world.dofs, "properties": world.properties()}
        world, arrays = self.world, self.arrays(request)
        if world is None:
            raise ValueError("expected build first, found %r" % request["op"])
        if request["op"] == "reset":
            world.reset(arrays["root"], arrays["dof"])
        elif request["op"] == "rollout":
            self.rollout(world, arrays, request["is_free"])
        elif request["op"] == "observe":
            world.gym.refresh_rigid_body_state_tensor(world.sim)
            arrays["body"][:] = world.body
        else:
            raise ValueError("expected build, reset, rollout, observe or stop, found %r" % request["op"])
        return {}

    def rollout(self, world: World, arrays: Dict[str, Any], is_free: bool) -> None:
        """K substeps; what was read after each goes into the arrays."""
        last = time.time()
        arrays["normal"][:], arrays["point"][:] = 0.0, 0.0
        for k in range(arrays["target"].shape[1]):
            arrays["torque"][:, k] = world.substep(arrays["target"][:, k], is_free)
            arrays["root"][:, k], arrays["dof"][:, k], arrays["force"][:, k] = world.root, world.dof, world.force
            world.contact_points(arrays["normal"][:, k], arrays["point"][:, k])
            if time.time() - last > PROGRESS_EVERY:
                self.send(PROGRESS, {"substeps": k + 1})
                last = time.time()

    def serve(self) -> int:
        """Everything; the exit status."""
        try:
            self.greet()
            while True:
                request = self.receive()
                if request["op"] == "stop":
                    self.send(REPLY, {})
                    return 0
                self.send(REPLY, self.answer(request))
        except EOFError:
            return 0
        except BaseException as error:
            kind = "failure" if self.is_ready else "environment"
            text = "%s: %s" % (type(error).__name__, error)
            self.send(ERROR, {"kind": kind, "message": text, "traceback": traceback.format_exc()})
            return 1


def guard(lifeline: int) -> None:
    """Fork a process that kills this one when the host is gone, even while the simulator hangs in a call."""
    worker, host = os.getpid(), os.getppid()
    if os.fork():
        return
    os.dup2(lifeline, 3)
    os.closerange(4, 4096)
    try:
        while os.getppid() == worker:
            # the host's end also counts as closed when only a forked child of a dead host still holds it
            ended = select.select([3], [], [], 1.0)[0] and not os.read(3, 1)
            with open("/proc/%d/stat" % worker, "rb") as file:
                parent = int(file.read().rpartition(b")")[2].split()[1])
            if (ended or parent != host) and os.getppid() == worker:
                os.kill(worker, signal.SIGKILL)
                break
    finally:
        os._exit(0)


def main() -> int:
    """Start as `sim.backends.isaacgym_process` asks: arguments are descriptors that it opened."""
    parser = argparse.ArgumentParser(description="Started by sim.backends.isaacgym_client, not by hand.")
    for name in ("commands", "replies", "memory", "lifeline"):
        parser.add_argument("--" + name, type=int, required=True)
    options = parser.parse_args()
    guard(options.lifeline)
    return Worker(options.commands, options.replies, options.memory).serve()


if __name__ == "__main__":
    sys.exit(main())
