"""STAND-IN for Isaac Gym, for tests only: what the stand-in of its API does with MuJoCo. The real package has no such file."""

from xml.etree import ElementTree

import mujoco
import numpy as np


def single(values):
    return np.asarray(values, dtype=np.float32).astype(np.float64)


def rotated(quat, vector):
    out = np.empty(3)
    mujoco.mju_rotVecQuat(out, np.asarray(vector, dtype=np.float64), np.asarray(quat, dtype=np.float64))
    return out


def inverse(quat):
    return quat * np.array([1.0, -1.0, -1.0, -1.0])


def is_saturated(sim, data):
    return np.abs(data.actuator_force) >= sim.actors[0].dofs["effort"]


def contacts(model, data):
    """Body, place in its frame, force on it in the world and normal force of each contact with the floor."""
    for index in range(data.ncon):
        contact, wrench = data.contact[index], np.zeros(6)
        mujoco.mj_contactForce(model, data, index, wrench)
        floor_first = model.geom_bodyid[contact.geom1] == 0
        body = int(model.geom_bodyid[contact.geom2 if floor_first else contact.geom1])
        world = contact.frame.reshape(3, 3).T.dot(wrench[:3]) * (1.0 if floor_first else -1.0)
        yield body, data.xmat[body].reshape(3, 3).T.dot(contact.pos - data.xpos[body]), world, wrench[0]


def euler(quat):
    """Angles about x, y, z in turn: what three hinges would have."""
    matrix = np.empty(9)
    mujoco.mju_quat2Mat(matrix, quat)
    m = matrix.reshape(3, 3)
    return np.array([np.arctan2(-m[1, 2], m[2, 2]), np.arcsin(m[0, 2]), np.arctan2(-m[0, 1], m[0, 0])])


def model_text(sim):
    """The asset with balls for triples of hinges, the properties that were set, a floor and servos."""
    actor, params = sim.actors[0], sim.params
    root, dofs = ElementTree.fromstring(ElementTree.tostring(actor.asset.text)), actor.dofs
    option = {"timestep": repr(params.dt), "gravity": "0 0 %r" % params.gravity.z, "iterations": "20"}
    option["integrator"] = "Euler" if dofs["driveMode"][0] == 3 else "implicitfast"
    ElementTree.SubElement(root, "option", option)
    for body, item in zip(root.iter("body"), actor.bodies):
        hinges = body.findall("joint")
        for hinge in hinges[1:]:
            body.remove(hinge)
        if hinges:
            armature = float(dofs["armature"][0])
            hinges[0].attrib = {"name": body.get("name"), "type": "ball", "armature": repr(armature)}
        x, y, z = item.inertia.x, item.inertia.y, item.inertia.z
        full = (x.x, y.y, z.z, x.y, x.z, y.z)
        inertial = {"pos": "%r %r %r" % (item.com.x, item.com.y, item.com.z), "mass": repr(item.mass)}
        body.find("inertial").attrib = dict(inertial, fullinertia=" ".join(map(repr, full)))
        for shape in body.findall("geom"):
            shape.attrib.update(contype="0", conaffinity="1", condim="3", friction="%r 0.005 0.0001" % sim.friction)
    floor = {"type": "plane", "size": "0 0 1", "contype": "1", "conaffinity": "0"}
    root.find("worldbody").insert(0, ElementTree.Element("geom", floor))
    root.remove(root.find("actuator"))
    servos = ElementTree.SubElement(root, "actuator")
    for name, row in zip(actor.asset.dofs, dofs):
        gear = {"x": "1 0 0 0 0 0", "y": "0 1 0 0 0 0", "z": "0 0 1 0 0 0"}[name[-1]]
        kp, kv, limit = float(row["stiffness"]), float(row["damping"]), float(row["effort"])
        servo = {"joint": name[:-2], "gear": gear, "forcelimited": "true", "forcerange": "%r %r" % (-limit, limit)}
        if row["driveMode"] == 1:
            servo.update(gainprm=repr(kp), biastype="affine", biasprm="0 %r %r" % (-kp, -kv))
        ElementTree.SubElement(servos, "general", servo)
    return ElementTree.tostring(root, encoding="unicode")
