"""How much work has room on a cluster; what a cluster answers: test_collect_on_ray.py."""

import pytest

from ray_jobs.cluster import RayConfig, cores_for, places_on


@pytest.mark.parametrize(
    ("each", "workers", "cores"), [(1.0, 3, 3), (0.5, 5, 3), (1.5, 3, 5), (0.1, 10, 1), (0.1, 3, 1), (2.5, 1, 3)]
)
def test_a_local_ray_has_whole_cores_for_every_worker(each, workers, cores):
    config = RayConfig(num_cpus=each)
    assert cores_for(config, workers) == cores
    assert places_on([{"CPU": cores}], config) >= workers


def test_a_local_ray_for_work_that_takes_only_a_gpu_has_a_core():
    assert cores_for(RayConfig(num_cpus=0.0, num_gpus=1.0), 4) == 1


def test_work_is_not_divided_between_machines():
    """Two machines of three cores have room for two times two cores, not for three."""
    two = [{"CPU": 3.0}, {"CPU": 3.0, "GPU": 1.0}]
    assert places_on(two, RayConfig(num_cpus=2.0)) == 2
    assert places_on(two, RayConfig(num_cpus=0.5, num_gpus=0.25)) == 4
    assert places_on(two, RayConfig(num_cpus=4.0)) == 0
