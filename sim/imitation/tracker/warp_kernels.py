"""The residuals of `tracker.residuals` as warp kernels, for roll-outs that are on the device already.

The vector has the same order and the same scales; float32 instead of float64. One thread takes one checkpoint of one sample.
Scratch arrays are (N, B·C), so that neighbouring threads read neighbouring numbers.

Axis legend: B samples, K substeps, C checkpoints, T samples of the reference, N = 24 bodies, J = 23 joints, P body pairs,
D searched degrees of freedom, M residuals.
"""

import warp as wp

from sim.imitation.tracker.residuals import CLEAR, COM, COM_VEL, FEET, MOMENTUM, POSE, POSITION, RANGE, ROOT, SOFT

wp.set_module_options({"enable_backward": False})

_POSE, _ROOT, _POSITION, _COM, _COM_VEL = (wp.constant(place) for place in (POSE, ROOT, POSITION, COM, COM_VEL))
_MOMENTUM, _FEET, _SOFT, _RANGE, _CLEAR = (wp.constant(place) for place in (MOMENTUM, FEET, SOFT, RANGE, CLEAR))


@wp.func
def turned(q: wp.vec4, v: wp.vec3) -> wp.vec3:
    """Vector turned by the unit quaternion wxyz."""
    axis = wp.vec3(q[1], q[2], q[3])
    twice = 2.0 * wp.cross(axis, v)
    return v + q[0] * twice + wp.cross(axis, twice)


@wp.func
def product(a: wp.vec4, b: wp.vec4) -> wp.vec4:
    """Quaternion product a ⊗ b, wxyz."""
    return wp.vec4(
        a[0] * b[0] - a[1] * b[1] - a[2] * b[2] - a[3] * b[3],
        a[0] * b[1] + a[1] * b[0] + a[2] * b[3] - a[3] * b[2],
        a[0] * b[2] - a[1] * b[3] + a[2] * b[0] + a[3] * b[1],
        a[0] * b[3] + a[1] * b[2] - a[2] * b[1] + a[3] * b[0],
    )


@wp.func
def back(q: wp.vec4) -> wp.vec4:
    """Conjugate of a quaternion wxyz."""
    return wp.vec4(q[0], -q[1], -q[2], -q[3])


@wp.func
def rotation_log(q: wp.vec4) -> wp.vec3:
    """Rotation vector of a unit quaternion, at most π long [rad]."""
    sign = float(1.0)
    if q[0] < 0.0:
        sign = -1.0
    axis = wp.vec3(q[1], q[2], q[3])
    sine = wp.length(axis)
    if sine < 1e-9:
        return 2.0 * sign * axis
    return (sign * 2.0 * wp.atan2(sine, sign * q[0]) / sine) * axis


@wp.func
def quat_at(qpos: wp.array3d[float], b: int, c: int, a: int) -> wp.vec4:
    """Quaternion at column a of a checkpoint's positions."""
    return wp.vec4(qpos[b, c, a], qpos[b, c, a + 1], qpos[b, c, a + 2], qpos[b, c, a + 3])


@wp.func
def vec_at(values: wp.array3d[float], b: int, c: int, a: int) -> wp.vec3:
    """Three numbers at column a of a checkpoint."""
    return wp.vec3(values[b, c, a], values[b, c, a + 1], values[b, c, a + 2])


@wp.func
def segment_distance(a0: wp.vec3, a1: wp.vec3, b0: wp.vec3, b1: wp.vec3) -> float:
    """Distance between two line segments [m]; `tracker.clearance` has the source."""
    u = a1 - a0
    v = b1 - b0
    r = a0 - b0
    dd1 = wp.max(wp.dot(u, u), 1e-12)
    dd2 = wp.max(wp.dot(v, v), 1e-12)
    dr1 = wp.dot(u, r)
    dr2 = wp.dot(v, r)
    dd12 = wp.dot(u, v)
    denominator = dd1 * dd2 - dd12 * dd12
    s = float(0.0)
    # float32: a denominator below the rounding of its terms says that the segments are parallel
    if denominator > 1e-6 * dd1 * dd2:
        s = wp.clamp((dd12 * dr2 - dr1 * dd2) / denominator, 0.0, 1.0)
    t = (dd12 * s + dr2) / dd2
    if t < 0.0:
        t = 0.0
        s = wp.clamp(-dr1 / dd1, 0.0, 1.0)
    elif t > 1.0:
        t = 1.0
        s = wp.clamp((dd12 - dr1) / dd1, 0.0, 1.0)
    return wp.length(a0 + s * u - b0 - t * v)


@wp.kernel
def checkpoint_residuals(
    # inputs
    qpos: wp.array3d[float],
    qvel: wp.array3d[float],
    weights: wp.array[float],
    joint_weights: wp.array[float],
    feet: wp.array[int],
    at: wp.array[int],
    quat_address: wp.array[int],
    omega_address: wp.array[int],
    parents: wp.array[int],
    offset: wp.array[wp.vec3],
    mass: wp.array[float],
    com: wp.array[wp.vec3],
    inertia: wp.array[wp.mat33],
    range_low: wp.array2d[wp.vec3],
    range_high: wp.array2d[wp.vec3],
    ends: wp.array2d[wp.vec3],
    radius: wp.array[float],
    pairs: wp.array2d[int],
    ref_pos: wp.array2d[wp.vec3],
    ref_rot: wp.array2d[wp.vec4],
    ref_quat: wp.array2d[wp.vec4],
    ref_summary: wp.array2d[wp.vec3],
    ref_depth: wp.array2d[float],
    # scratch
    pos: wp.array2d[wp.vec3],
    rot: wp.array2d[wp.vec4],
    vel: wp.array2d[wp.vec3],
    omega: wp.array2d[wp.vec3],
    center: wp.array2d[wp.vec3],
    center_vel: wp.array2d[wp.vec3],
    # outputs
    residual_out: wp.array2d[float],
) -> None:
    """Residuals of one checkpoint of one sample into its part of the vector; `at` is its row of the reference. Launch (B, C)."""
    b, c = wp.tid()
    t = at[c]
    checkpoints = qpos.shape[1]
    bodies = mass.shape[0]
    x = b * checkpoints + c
    share = 1.0 / wp.sqrt(float(checkpoints))
    total = float(0.0)
    mean = wp.vec3(0.0, 0.0, 0.0)
    mean_vel = wp.vec3(0.0, 0.0, 0.0)
    for j in range(bodies):
        spin = vec_at(qvel, b, c, omega_address[j])
        if j == 0:
            rot[j, x] = wp.normalize(quat_at(qpos, b, c, 3))
            pos[j, x] = vec_at(qpos, b, c, 0)
            vel[j, x] = vec_at(qvel, b, c, 0)
            omega[j, x] = turned(rot[j, x], spin)
        else:
            p = parents[j]
            rot[j, x] = product(rot[p, x], quat_at(qpos, b, c, quat_address[j]))
            arm = turned(rot[p, x], offset[j])
            pos[j, x] = pos[p, x] + arm
            vel[j, x] = vel[p, x] + wp.cross(omega[p, x], arm)
            omega[j, x] = omega[p, x] + turned(rot[j, x], spin)
        lever = turned(rot[j, x], com[j])
        center[j, x] = pos[j, x] + lever
        center_vel[j, x] = vel[j, x] + wp.cross(omega[j, x], lever)
        mean += mass[j] * center[j, x]
        mean_vel += mass[j] * center_vel[j, x]
        total += mass[j]
    mean = mean / total
    mean_vel = mean_vel / total
    angular = wp.vec3(0.0, 0.0, 0.0)
    for j in range(bodies):
        own = turned(rot[j, x], inertia[j] @ turned(back(rot[j, x]), omega[j, x]))
        angular += mass[j] * wp.cross(center[j, x] - mean, center_vel[j, x] - mean_vel) + own

    n = c * (6 * (bodies - 1) + 3 + 3 * bodies + 9 + 3 * feet.shape[0] + pairs.shape[0])
    for j in range(1, bodies):
        here = quat_at(qpos, b, c, quat_address[j])
        away = wp.sqrt(weights[_POSE] * joint_weights[j]) * share * rotation_log(product(back(ref_quat[t, j]), here))
        angle = rotation_log(here)
        excess_scale = wp.sqrt(weights[_RANGE]) * share
        for i in range(3):
            residual_out[b, n + i] = away[i]
            excess = wp.max(0.0, wp.max(angle[i] - range_high[t, j - 1][i], range_low[t, j - 1][i] - angle[i]))
            residual_out[b, n + 3 + i] = excess_scale * excess
        n += 6
    root = product(back(ref_rot[t, 0]), rot[0, x])
    scale = wp.sqrt(weights[_ROOT]) * share
    if root[0] < 0.0:
        scale = -scale
    for i in range(3):
        residual_out[b, n + i] = scale * root[1 + i]
    n += 3
    scale = wp.sqrt(weights[_POSITION] / float(bodies)) * share
    for j in range(bodies):
        gap = pos[j, x] - ref_pos[t, j]
        for i in range(3):
            residual_out[b, n + i] = scale * gap[i]
        n += 3
    for i in range(3):
        residual_out[b, n] = wp.sqrt(weights[_COM]) * share * (mean[i] - ref_summary[t, 0][i])
        residual_out[b, n + 1] = wp.sqrt(weights[_COM_VEL]) * share * (mean_vel[i] - ref_summary[t, 1][i])
        residual_out[b, n + 2] = wp.sqrt(weights[_MOMENTUM]) * share * (angular[i] - ref_summary[t, 2][i])
        n += 3
    scale = wp.sqrt(weights[_FEET] / float(feet.shape[0])) * share
    for f in range(feet.shape[0]):
        gap = pos[feet[f], x] - mean - ref_pos[t, feet[f]] + ref_summary[t, 0]
        for i in range(3):
            residual_out[b, n + i] = scale * gap[i]
        n += 3
    scale = wp.sqrt(weights[_CLEAR]) * share
    for i in range(pairs.shape[0]):
        one = pairs[i, 0]
        two = pairs[i, 1]
        distance = segment_distance(
            pos[one, x] + turned(rot[one, x], ends[one, 0]),
            pos[one, x] + turned(rot[one, x], ends[one, 1]),
            pos[two, x] + turned(rot[two, x], ends[two, 0]),
            pos[two, x] + turned(rot[two, x], ends[two, 1]),
        )
        depth = wp.max(0.0, radius[one] + radius[two] - distance)
        residual_out[b, n + i] = scale * wp.max(0.0, depth - ref_depth[t, i])


@wp.kernel
def softness_residuals(
    # inputs
    force_z: wp.array2d[float],
    lag: int,
    count: int,
    first: int,
    weights: wp.array[float],
    body_weight: float,
    # outputs
    residual_out: wp.array2d[float],
) -> None:
    """Change of the vertical ground force over the lag, behind the `first` residuals. Launch (B, count)."""
    b, k = wp.tid()
    scale = wp.sqrt(weights[_SOFT] / float(count)) / body_weight
    residual_out[b, first + k] = scale * (force_z[b, k + lag] - force_z[b, k])


@wp.kernel
def fill_targets(
    # inputs
    base: wp.array2d[float],
    first: int,
    offsets: wp.array3d[float],
    searched: wp.array[int],
    knot_steps: int,
    # outputs
    ctrl_out: wp.array3d[float],
) -> None:
    """Base targets from row `first` plus linearly interpolated knot offsets (`tracker.servo_targets`). Launch (B, K, 69).

    `searched` is the place of a servo among the searched degrees of freedom, -1 for the others.
    """
    b, k, i = wp.tid()
    target = float(base[first + k, i])
    place = searched[i]
    if place >= 0:
        knot = wp.min(k // knot_steps, offsets.shape[1] - 2)
        share = float(k + 1 - knot * knot_steps) / float(knot_steps)
        target += offsets[b, knot, place] * (1.0 - share) + offsets[b, knot + 1, place] * share
    ctrl_out[b, k, i] = target


@wp.kernel
def keep_checkpoint(
    # inputs
    row: wp.array[int],
    slot_of_row: wp.array[int],
    qpos: wp.array2d[float],
    qvel: wp.array2d[float],
    force: wp.array2d[wp.vec3],
    # outputs
    qpos_out: wp.array3d[float],
    qvel_out: wp.array3d[float],
    force_z_out: wp.array2d[float],
) -> None:
    """Vertical ground force of the substep; its state where it is a checkpoint (slot, else -1). Launch (B, 99)."""
    b, i = wp.tid()
    k = row[b]
    slot = slot_of_row[k]
    if slot >= 0:
        qpos_out[b, slot, i] = qpos[b, i]
        if i < qvel.shape[1]:
            qvel_out[b, slot, i] = qvel[b, i]
    if i == 0:
        total = float(0.0)
        for body in range(force.shape[1]):
            total += force[b, body][2]
        force_z_out[b, k] = total
