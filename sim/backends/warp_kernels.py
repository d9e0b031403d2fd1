"""Warp kernels around one substep of many environments: drive it, sum its contacts, judge it.

`begin_substep` runs before the engine's step and keeps the state that the substep starts from; `add_contacts` and the kernel
of a sink (`keep_substep`, `add_substep`, the tracker's) after it; `end_substep` last. Which substep it is stands in device memory
(`row`), so one captured graph serves them all.

Axis legend: E environments, K substeps of a call, P transitions, S substeps of one, B = 24 bodies.
"""

import warp as wp

wp.set_module_options({"enable_backward": False})

LARGEST = wp.constant(1.0e10)
"""What MuJoCo calls a bad position, velocity, acceleration or control (mjMAXVAL)."""
BADQPOS, BADQVEL, BADQACC, BADCTRL, CONTACTFULL, CNSTRFULL = 1, 2, 4, 8, 16, 32
"""Bits of `fault`, one a warning of MuJoCo."""
_BADQPOS, _BADQVEL, _BADQACC = wp.constant(BADQPOS), wp.constant(BADQVEL), wp.constant(BADQACC)
_BADCTRL, _CONTACTFULL, _CNSTRFULL = wp.constant(BADCTRL), wp.constant(CONTACTFULL), wp.constant(CNSTRFULL)


@wp.func
def is_bad(value: float) -> bool:
    """NaN, infinite, or beyond what MuJoCo takes."""
    return not (wp.abs(value) < LARGEST)


@wp.kernel
def begin_substep(
    # inputs
    ctrl: wp.array3d[float],
    wrench: wp.array3d[float],
    num_wrenches: int,
    row: wp.array[int],
    qpos: wp.array2d[float],
    qvel: wp.array2d[float],
    # outputs
    ctrl_out: wp.array2d[float],
    applied_out: wp.array2d[float],
    qpos_before_out: wp.array2d[float],
    qvel_before_out: wp.array2d[float],
    force_out: wp.array2d[wp.vec3],
    moment_out: wp.array2d[wp.vec3],
    lever_out: wp.array2d[wp.vec3],
    weight_out: wp.array2d[float],
    fault_out: wp.array[int],
) -> None:
    """Controls and root wrench of the present substep; state before it; running contact sums to zero. Launch (E, 99)."""
    e, i = wp.tid()
    k = row[e]
    qpos_before_out[e, i] = qpos[e, i]
    if is_bad(qpos[e, i]):
        wp.atomic_or(fault_out, e, _BADQPOS)
    if i < qvel.shape[1]:
        qvel_before_out[e, i] = qvel[e, i]
        if is_bad(qvel[e, i]):
            wp.atomic_or(fault_out, e, _BADQVEL)
    if i < ctrl_out.shape[1]:
        target = ctrl[e, k, i]
        if is_bad(target):
            wp.atomic_or(fault_out, e, _BADCTRL)
        ctrl_out[e, i] = target
    if i < 6:
        if num_wrenches > 0:
            applied_out[e, i] = wrench[e, k, i]
        else:
            applied_out[e, i] = 0.0
    if i < weight_out.shape[1]:
        zero = wp.vec3(0.0, 0.0, 0.0)
        force_out[e, i] = zero
        moment_out[e, i] = zero
        lever_out[e, i] = zero
        weight_out[e, i] = 0.0


@wp.kernel
def add_contacts(
    # inputs
    num_contacts: wp.array[int],
    environment: wp.array[int],
    geom: wp.array[wp.vec2i],
    point: wp.array[wp.vec3],
    contact_wrench: wp.array[wp.spatial_vector],
    body_of_geom: wp.array[int],
    engine_body: wp.array[int],
    body_pos: wp.array2d[wp.vec3],
    # outputs
    force_out: wp.array2d[wp.vec3],
    moment_out: wp.array2d[wp.vec3],
    lever_out: wp.array2d[wp.vec3],
    weight_out: wp.array2d[float],
) -> None:
    """Add each contact's wrench to its body: force, moment about the body's origin, force-weighted lever. Launch (contacts,).

    The engine gives the force of the first geom on the second, in the world frame; the floor is body -1.
    """
    c = wp.tid()
    if c >= num_contacts[0]:
        return
    pair = geom[c]
    body = int(body_of_geom[pair[1]])
    sign = float(1.0)
    if body < 0:
        body = int(body_of_geom[pair[0]])
        sign = -1.0
    e = environment[c]
    force = sign * wp.spatial_top(contact_wrench[c])
    torque = sign * wp.spatial_bottom(contact_wrench[c])
    lever = point[c] - body_pos[e, engine_body[body]]
    size = wp.length(force)
    wp.atomic_add(force_out, e, body, force)
    wp.atomic_add(moment_out, e, body, torque + wp.cross(lever, force))
    wp.atomic_add(lever_out, e, body, size * lever)
    wp.atomic_add(weight_out, e, body, size)


@wp.func
def contact_lever(lever_sum: wp.vec3, weight: float) -> wp.vec3:
    """From the body's origin to the force-weighted centre of its contacts; zero where none touches."""
    if weight > 0.0:
        return lever_sum / weight
    return wp.vec3(0.0, 0.0, 0.0)


@wp.func
def acting_torque(force: float, damping: float, low: float, high: float, before: float, after: float) -> float:
    """What acted on the joint axis: servo force less its implicit damping kv·(v⁺ - v), none at the servo's limit."""
    if low < force and force < high:
        return force - damping * (after - before)
    return force


@wp.kernel
def end_substep(
    # inputs
    qvel: wp.array2d[float],
    qvel_before: wp.array2d[float],
    per_step: float,
    overflow: wp.array[int],
    contact_bits: int,
    row_bits: int,
    # in and out
    fault: wp.array[int],
    row: wp.array[int],
    # outputs
    bad_row_out: wp.array[int],
    bad_fault_out: wp.array[int],
) -> None:
    """Judge the substep, remember the first that is not sound (`bad_row`, -1 where none), and count it. Launch (E,)."""
    e = wp.tid()
    found = int(fault[e])
    if (overflow[e] & contact_bits) != 0:
        found = found | _CONTACTFULL
    if (overflow[e] & row_bits) != 0:
        found = found | _CNSTRFULL
    for i in range(qvel.shape[1]):
        if is_bad((qvel[e, i] - qvel_before[e, i]) * per_step):
            found = found | _BADQACC
    if found != 0 and bad_row_out[e] < 0:
        bad_row_out[e] = row[e]
        bad_fault_out[e] = found
    fault[e] = 0
    row[e] = row[e] + 1


@wp.kernel
def keep_substep(
    # inputs
    row: wp.array[int],
    qpos: wp.array2d[float],
    qvel: wp.array2d[float],
    servo_force: wp.array2d[float],
    force: wp.array2d[wp.vec3],
    moment: wp.array2d[wp.vec3],
    lever: wp.array2d[wp.vec3],
    weight: wp.array2d[float],
    engine_body: wp.array[int],
    body_pos: wp.array2d[wp.vec3],
    # outputs
    qpos_out: wp.array3d[float],
    qvel_out: wp.array3d[float],
    servo_out: wp.array3d[float],
    force_out: wp.array3d[wp.vec3],
    torque_out: wp.array3d[wp.vec3],
    point_out: wp.array3d[wp.vec3],
) -> None:
    """State after the substep, servo forces and net ground contact in it, into the trace's row. Launch (E, 99)."""
    e, i = wp.tid()
    k = row[e]
    qpos_out[e, k, i] = qpos[e, i]
    if i < qvel.shape[1]:
        qvel_out[e, k, i] = qvel[e, i]
    if i < servo_force.shape[1]:
        servo_out[e, k, i] = servo_force[e, i]
    if i < weight.shape[1]:
        arm = contact_lever(lever[e, i], weight[e, i])
        force_out[e, k, i] = force[e, i]
        torque_out[e, k, i] = moment[e, i] - wp.cross(arm, force[e, i])
        if weight[e, i] > 0.0:
            arm = arm + body_pos[e, engine_body[i]]
        point_out[e, k, i] = arm


@wp.kernel
def add_substep(
    # inputs
    row: wp.array[int],
    num_substeps: int,
    step: wp.float64,
    qpos: wp.array2d[float],
    qvel: wp.array2d[float],
    qvel_before: wp.array2d[float],
    servo_force: wp.array2d[float],
    dof: wp.array[int],
    damping: wp.array[float],
    low: wp.array[float],
    high: wp.array[float],
    force: wp.array2d[wp.vec3],
    moment: wp.array2d[wp.vec3],
    engine_body: wp.array[int],
    body_pos: wp.array2d[wp.vec3],
    residual: wp.array[float],
    # outputs
    qpos_out: wp.array3d[float],
    qvel_out: wp.array3d[float],
    impulse_out: wp.array3d[wp.float64],
    early_out: wp.array4d[wp.float64],
    late_out: wp.array4d[wp.float64],
    closure_out: wp.array2d[float],
) -> None:
    """Add the substep to its transition, the first one starting the sums, the last one leaving the state. Launch (E, 99)."""
    e, i = wp.tid()
    p = row[e] // num_substeps
    r = row[e] % num_substeps
    if r == num_substeps - 1:
        qpos_out[e, p, i] = qpos[e, i]
        if i < qvel.shape[1]:
            qvel_out[e, p, i] = qvel[e, i]
    if i == 0 and (r == 0 or not (residual[e] <= closure_out[e, p])):
        closure_out[e, p] = residual[e]
    if i < servo_force.shape[1]:
        v = dof[i]
        torque = acting_torque(servo_force[e, i], damping[i], low[i], high[i], qvel_before[e, v], qvel[e, v])
        so_far = impulse_out[e, p, i]
        if r == 0:
            so_far = wp.float64(0.0)
        impulse_out[e, p, i] = so_far + step * wp.float64(torque)
    if i < force.shape[1]:
        late = wp.clamp(float(r + 1) - 0.5 * float(num_substeps), 0.0, 1.0)
        f = force[e, i]
        m = moment[e, i] + wp.cross(body_pos[e, engine_body[i]], f)
        for k in range(3):
            if r == 0:
                early_out[e, p, i, k] = wp.float64(0.0)
                early_out[e, p, i, k + 3] = wp.float64(0.0)
                late_out[e, p, i, k] = wp.float64(0.0)
                late_out[e, p, i, k + 3] = wp.float64(0.0)
            early_out[e, p, i, k] = early_out[e, p, i, k] + wp.float64((1.0 - late) * f[k])
            early_out[e, p, i, k + 3] = early_out[e, p, i, k + 3] + wp.float64((1.0 - late) * m[k])
            late_out[e, p, i, k] = late_out[e, p, i, k] + wp.float64(late * f[k])
            late_out[e, p, i, k + 3] = late_out[e, p, i, k + 3] + wp.float64(late * m[k])
