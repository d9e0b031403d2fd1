"""Device code of the equations of motion: the recursion of `sim.closure` in float32. `warp_closure` launches it.

Scratch arrays are (B, E), so that neighbouring threads read neighbouring numbers.

Axis legend: E environments, B = 24 bodies.
"""

import warp as wp

from sim.backends.warp_kernels import acting_torque

wp.set_module_options({"enable_backward": False})


@wp.func
def rotation_at(qpos: wp.array2d[float], e: int, a: int) -> wp.mat33:
    """Rotation matrix of the quaternion wxyz at column a, normalised as the engine does."""
    w = qpos[e, a]
    x = qpos[e, a + 1]
    y = qpos[e, a + 2]
    z = qpos[e, a + 3]
    s = 2.0 / (w * w + x * x + y * y + z * z)
    return wp.mat33(
        1.0 - s * (y * y + z * z), s * (x * y - w * z), s * (x * z + w * y),
        s * (x * y + w * z), 1.0 - s * (x * x + z * z), s * (y * z - w * x),
        s * (x * z - w * y), s * (y * z + w * x), 1.0 - s * (x * x + y * y),
    )  # fmt: skip


@wp.func
def three_at(values: wp.array2d[float], e: int, a: int) -> wp.vec3:
    """Three numbers of a row as a vector."""
    return wp.vec3(values[e, a], values[e, a + 1], values[e, a + 2])


@wp.func
def no_smaller(value: float, least: float) -> float:
    """Largest of two, NaN if either is."""
    if value <= least:
        return least
    return value


@wp.kernel
def largest_residual(
    # inputs
    qpos: wp.array2d[float],
    qvel: wp.array2d[float],
    qvel_after: wp.array2d[float],
    per_step: float,
    servo_force: wp.array2d[float],
    damping: wp.array[float],
    low: wp.array[float],
    high: wp.array[float],
    ground_force: wp.array2d[wp.vec3],
    ground_moment: wp.array2d[wp.vec3],
    engine_body: wp.array[int],
    engine_pos: wp.array2d[wp.vec3],
    quat_address: wp.array[int],
    omega_address: wp.array[int],
    parents: wp.array[int],
    offset: wp.array[wp.vec3],
    mass: wp.array[float],
    com: wp.array[wp.vec3],
    inertia: wp.array[wp.mat33],
    armature: float,
    gravity: float,
    per_force: float,
    per_torque: float,
    # scratch
    rot: wp.array2d[wp.mat33],
    arm: wp.array2d[wp.vec3],
    pos: wp.array2d[wp.vec3],
    omega: wp.array2d[wp.vec3],
    alpha: wp.array2d[wp.vec3],
    acc: wp.array2d[wp.vec3],
    force: wp.array2d[wp.vec3],
    moment: wp.array2d[wp.vec3],
    # outputs
    residual_out: wp.array[float],
) -> None:
    """Largest scaled residual of the substep over all 75 rows; `sim.closure` has the equations. Launch (E,)."""
    e = wp.tid()
    for b in range(mass.shape[0]):
        v = omega_address[b]
        own = rotation_at(qpos, e, quat_address[b])
        spin = three_at(qvel, e, v)
        turn = (three_at(qvel_after, e, v) - spin) * per_step
        if b == 0:
            rot[b, e] = own
            arm[b, e] = wp.vec3(0.0, 0.0, 0.0)
            pos[b, e] = wp.vec3(0.0, 0.0, 0.0)
            omega[b, e] = own @ spin
            alpha[b, e] = own @ turn
            rise = (three_at(qvel_after, e, 0) - three_at(qvel, e, 0)) * per_step
            acc[b, e] = rise + wp.vec3(0.0, 0.0, gravity)
        else:
            p = parents[b]
            x = rot[p, e] @ offset[b]
            rot[b, e] = rot[p, e] @ own
            arm[b, e] = x
            pos[b, e] = pos[p, e] + x
            acc[b, e] = acc[p, e] + wp.cross(alpha[p, e], x) + wp.cross(omega[p, e], wp.cross(omega[p, e], x))
            relative = rot[b, e] @ spin
            omega[b, e] = omega[p, e] + relative
            alpha[b, e] = alpha[p, e] + rot[b, e] @ turn + wp.cross(omega[p, e], relative)
        c = rot[b, e] @ com[b]
        w = omega[b, e]
        f = mass[b] * (acc[b, e] + wp.cross(alpha[b, e], c) + wp.cross(w, wp.cross(w, c)))
        back = wp.transpose(rot[b, e])
        own_w = back @ w
        own_n = inertia[b] @ (back @ alpha[b, e]) + wp.cross(own_w, inertia[b] @ own_w)
        n = rot[b, e] @ own_n + wp.cross(c, f)
        # the engine's contact sums are about its own body origin: moved to the one found here
        shift = engine_pos[e, engine_body[b]] - three_at(qpos, e, 0) - pos[b, e]
        n = n - ground_moment[e, b] - wp.cross(shift, ground_force[e, b])
        force[b, e] = f - ground_force[e, b]
        moment[b, e] = n
    largest = float(0.0)
    for i in range(mass.shape[0]):
        b = mass.shape[0] - 1 - i
        v = omega_address[b]
        joint = wp.transpose(rot[b, e]) @ moment[b, e]
        for k in range(3):
            value = joint[k]
            if b > 0:
                u = 3 * (b - 1) + k
                value = value + armature * (qvel_after[e, v + k] - qvel[e, v + k]) * per_step
                value = value - acting_torque(
                    servo_force[e, u], damping[u], low[u], high[u], qvel[e, v + k], qvel_after[e, v + k]
                )
            else:
                largest = no_smaller(wp.abs(force[b, e][k]) * per_force, largest)
            largest = no_smaller(wp.abs(value) * per_torque, largest)
        if b > 0:
            p = parents[b]
            force[p, e] = force[p, e] + force[b, e]
            moment[p, e] = moment[p, e] + moment[b, e] + wp.cross(arm[b, e], force[b, e])
    residual_out[e] = largest
