import dataclasses
import json

import numpy as np
import pytest

from sim.gait import arms, publish, study
from sim.gait.arms import ARMS, arm_config
from sim.gait.environment_config import EnvironmentConfig
from sim.gait.evaluate import walk_trial
from sim.gait.expert_file import save_expert
from sim.gait.study import StudyConfig
from sim.gait.trained import find_policies, load_trained, read_config, read_curves
from sim.learning.checkpoint import load_checkpoint
from sim.learning.config import NetworkConfig, PPOConfig
from sim.learning.network import ActorCritic
from sim.learning.policy import Policy, save_policy


@pytest.fixture(scope="module")
def tiny():
    """A study of seconds."""
    ppo = PPOConfig(iteration_steps=32, epochs=1, minibatch=16, network=NetworkConfig(hidden=(8,)), checkpoint_every=1)
    return arms.GaitPreset(
        environment=EnvironmentConfig(target="relative"), ppo=ppo, pretrain_iterations=2, finetune_iterations=2, num_envs=4,
        grf_weight=0.5, cop_weight=0.5,
    )  # fmt: skip


@pytest.fixture(scope="module")
def expert_path(cyclic_expert, tmp_path_factory):
    path = tmp_path_factory.mktemp("expert") / "standing.npz"
    save_expert(path, cyclic_expert)
    return path


@pytest.fixture(scope="module")
def whole(tiny, expert_path, tmp_path_factory):
    """A study from beginning to end: its folder and its results."""
    out = tmp_path_factory.mktemp("whole")
    return out, study.conduct(StudyConfig(out=out, expert=expert_path, seeds=2), tiny).results


@pytest.fixture(scope="module")
def evaluated(whole, expert_path):
    """The same from its policies alone, with report and figures: its folder and its results."""
    out, _ = whole
    return out, study.main(StudyConfig(out=out, expert=expert_path, evaluate_only=True))


def test_a_study_writes_results_report_and_figures(evaluated):
    out, results = evaluated
    found = json.loads((out / "results.json").read_text())
    assert found["seeds"] == [0, 1]
    assert set(found["arms"]) == set(ARMS)
    for name, arm in found["arms"].items():
        for part in (arm, *arm["seeds"].values()):
            fields = {
                "kinematic_reward", "grf_reward", "cop_reward", "fell", "joint_rmse_deg", "cop_rmse_pct_fl", "cpcc_magnitude",
                "cpcc_phase_rad", "moment_rmse_nm_kg", "moment_r", "residual_force_n",
            }  # fmt: skip
            assert fields <= part.keys()
            assert set(part["cop_rmse_pct_fl"]) == {"mean", "sd"}
            assert {"hip_flexion", "knee_flexion", "ankle_flexion"} <= part["moment_r"].keys()
            assert ("p_values" in part) == (name != "kinematic")
    assert {"config", "versions", "code", "targets", "pretrained", "expert"} <= found.keys()
    assert found["config"]["arms"]["all"] == {"grf_weight": 0.5, "cop_weight": 0.5}
    assert 0.0 < results["arms"]["all"]["kinematic_reward"] <= 1.0
    report = (out / "report.html").read_text()
    assert report.count("<svg") == 6
    assert "http" not in report.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    ).replace("https://matplotlib.org", "")
    for name in ("rewards", "angles", "butterflies", "reaction", "moments", "residual"):
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    curves = read_curves(out)
    assert set(curves) == {"pretrain", *(f"{arm}_seed{seed}" for arm in ARMS for seed in (0, 1))}
    assert curves["grf_seed1"]["steps"] == [32, 64]


def test_published_policies_are_the_studys_and_have_a_card(whole, evaluated, expert_path, tmp_path):
    out, results = whole
    weights = tmp_path / "weights"
    assert len(publish.main(publish.PublishConfig(study=out, out=weights))) == 9
    config = StudyConfig(out=tmp_path / "x", expert=expert_path, evaluate_only=True, policies=weights)
    again = study.conduct(config)
    assert study.without_nan(again.results["arms"]) == study.without_nan(results["arms"])
    assert study.without_nan(again.results["pretrained"]) == study.without_nan(results["pretrained"])
    assert again.curves == read_curves(out)
    card = (weights / "README.md").read_text()
    assert f"| all | {results['arms']['all']['kinematic_reward']:.3f} |" in card
    assert "imitate one measured walk, standing (Apache-2.0; 70.0 kg, 2.0 s)" in card


def test_evaluation_alone_finds_the_same(whole, expert_path, tmp_path):
    out, results = whole
    again = study.conduct(StudyConfig(out=tmp_path, expert=expert_path, evaluate_only=True, policies=out))
    assert study.without_nan(again.results["arms"]) == study.without_nan(results["arms"])
    assert study.without_nan(again.results["targets"]) == study.without_nan(results["targets"])
    pushed = study.conduct(
        StudyConfig(out=tmp_path, expert=expert_path, evaluate_only=True, policies=out, residual_factor=0.0)
    )
    assert pushed.results["arms"]["all"]["residual_force_n"] == 0.0 < results["arms"]["all"]["residual_force_n"]


def test_a_walk_does_not_depend_on_the_others(whole, cyclic_expert, tiny):
    paths = find_policies(whole[0])
    policies = [load_trained(paths[arm, 0]).policy for arm in ("all", "grf")]
    config = arm_config(tiny, "kinematic")
    together = walk_trial(cyclic_expert, config, policies)
    for policy, walk in zip(policies, together):
        alone = walk_trial(cyclic_expert, config, [policy])[0]
        assert (alone.num_steps, alone.fell) == (walk.num_steps, walk.fell)
        np.testing.assert_array_equal(alone.torque, walk.torque)
        np.testing.assert_array_equal(alone.qpos, walk.qpos)
    assert (together[0].torque[0] != together[1].torque[0]).any()


def test_a_fall_ends_the_walk(cyclic_expert):
    def collapse(observation):
        action = np.zeros((1, 23), np.float32)
        action[:, 4] = action[:, 11] = 20.0  # hips and knees bend
        action[:, 6] = action[:, 13] = 20.0
        return action

    fell, stood = walk_trial(
        cyclic_expert, EnvironmentConfig(target="relative"), [collapse, lambda o: np.zeros((1, 23), np.float32)]
    )
    assert fell.fell
    assert 0 < fell.num_steps < stood.num_steps
    lowest = cyclic_expert.qpos[:, 2].min() - 0.1
    assert (fell.qpos[:, 2] >= lowest).all()  # nothing of the next episode is in it
    assert len(fell.torque) == len(fell.ground) == len(fell.qpos) - 1 == fell.num_steps


def test_a_stopped_study_goes_on_as_if_nothing_had_happened(whole, tiny, expert_path, cyclic_expert, tmp_path):
    out, results = whole
    arms.pretrain(cyclic_expert, tiny, tmp_path)
    arms.finetune(cyclic_expert, tiny, "kinematic", tmp_path)
    half = dataclasses.replace(tiny, finetune_iterations=1)
    arms.finetune(cyclic_expert, half, "grf", tmp_path)
    with pytest.raises(ValueError, match=r"expected a folder without a study, found grf_seed0, .* --resume"):
        study.conduct(StudyConfig(out=tmp_path, expert=expert_path, seeds=2), tiny)
    again = study.conduct(StudyConfig(out=tmp_path, expert=expert_path, seeds=2, resume=True, workers=2), tiny)
    assert study.without_nan(again.results["arms"]) == study.without_nan(results["arms"])
    first, second = (load_checkpoint(folder / "grf_seed0")[0] for folder in (out, tmp_path))
    for name, values in first.items():
        np.testing.assert_array_equal(second[name], values, err_msg=name)
    with pytest.raises(ValueError, match="made with other settings"):
        study.conduct(
            StudyConfig(out=tmp_path, expert=expert_path, seeds=2, resume=True),
            dataclasses.replace(tiny, grf_weight=0.9),
        )


def test_what_cannot_be_evaluated_is_refused(whole, expert_path, cyclic_expert, tmp_path):
    out, _ = whole

    def refused(text, **options):
        with pytest.raises((ValueError, OSError), match=text):
            study.conduct(
                StudyConfig(**({"out": tmp_path / "x", "expert": expert_path, "evaluate_only": True} | options))
            )

    refused("no such file", expert=tmp_path / "none.npz", policies=out)
    refused("expected the policies of the four arms, found 0", policies=tmp_path)
    blind = dataclasses.replace(cyclic_expert, wrench=np.full_like(cyclic_expert.wrench, np.nan))
    save_expert(tmp_path / "blind.npz", blind)
    refused("forces: expected them in all 60 control steps, missing in 60", expert=tmp_path / "blind.npz", policies=out)
    save_expert(tmp_path / "other.npz", dataclasses.replace(cyclic_expert, name="somebody else"))
    refused("a policy that imitates somebody else, found one of standing", expert=tmp_path / "other.npz", policies=out)
    with pytest.raises(ValueError, match="policies: expected together with --evaluate-only"):
        StudyConfig(out=tmp_path, policies=out)
    with pytest.raises(ValueError, match="seeds: expected at least 1, got 0"):
        StudyConfig(out=tmp_path, seeds=0)


def test_no_trial_and_no_data_is_said(monkeypatch, tmp_path):
    monkeypatch.delenv("IMDYLAB_DATA", raising=False)
    with pytest.raises(ValueError, match="expert: expected a trial, got none, and IMDYLAB_DATA is not set"):
        study.conduct(StudyConfig(out=tmp_path))


def test_policies_of_other_studies_are_not_mixed(whole, expert_path, tmp_path):
    out, _ = whole
    for (arm, seed), path in find_policies(out).items():
        if seed == 0:
            for source in (path, path.with_suffix(".json")):
                (tmp_path / f"{arm}_seed0{source.suffix}").write_bytes(source.read_bytes())
    config = StudyConfig(out=tmp_path / "x", expert=expert_path, evaluate_only=True, policies=tmp_path)
    assert study.conduct(config).results["seeds"] == [0]
    facts = json.loads((tmp_path / "cop_seed0.json").read_text())
    facts["settings"]["task"]["environment"]["target_scale"] = 0.25
    (tmp_path / "cop_seed0.json").write_text(json.dumps(facts))
    with pytest.raises(ValueError, match=r"cop_seed0.safetensors: settings: .* do not mix studies"):
        study.conduct(config)
    (tmp_path / "cop_seed0.safetensors").unlink()
    with pytest.raises(ValueError, match="found 3 policies, missing cop_seed0"):
        study.conduct(config)


def test_a_policy_of_another_task_is_refused(tmp_path):
    path = tmp_path / "all_seed0.safetensors"
    save_policy(path, Policy(ActorCritic(46, 7, NetworkConfig(hidden=(4,))), None, 5.0), {})
    with pytest.raises(ValueError, match="46 observations and 23 actions, found one of 46 and 7"):
        load_trained(path)
    save_policy(path, Policy(ActorCritic(46, 23, NetworkConfig(hidden=(4,))), None, 5.0), {})
    with pytest.raises(ValueError, match="expected the environment and the expert of a gait study"):
        load_trained(path)


def test_settings_come_back_as_they_were_written(tiny):
    from dataset.provenance import plain

    config = arm_config(tiny, "cop")
    written = json.loads(json.dumps(plain(config)))
    assert read_config(EnvironmentConfig, written, "x.json") == config
    del written["physics"]["friction"]
    written["physics"]["gravity"] = 9.81
    with pytest.raises(
        ValueError, match=r"x.json: settings of PhysicsConfig: .* missing \['friction'\], unknown \['gravity'\]"
    ):
        read_config(EnvironmentConfig, written, "x.json")
