"""Every contender of every benchmark under pytest-benchmark: `pytest --benchmark-only`, one group a case, rivals beside.

Left out of every other run (see `tests/conftest.py`): the data of the cases take seconds to make. `python -m bench.run`
measures the same contenders interleaved, which is fairer on a machine that does other work.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.harness import Case, Contender
from bench.run import find_contests, use_threads


def _names() -> list[tuple[str, str, str]]:
    use_threads(0)
    return [
        (kernel, case.name, contender.impl)
        for kernel, contests in find_contests().items()
        for case, contenders in contests("cpu")
        for contender in contenders
    ]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test a contender, in the order of the cases, and none where nothing is timed."""
    names = _names() if metafunc.config.getoption("benchmark_only") else []
    metafunc.parametrize(("kernel", "case_name", "impl"), names, ids=["-".join(name) for name in names])


@pytest.fixture(scope="module")
def contest_of():
    """Case and contenders by name; only the last one is kept, since each holds hundreds of megabytes."""
    walks: dict[str, Iterator[tuple[Case, list[Contender]]]] = {}
    last: dict[str, tuple[Case, list[Contender]]] = {}

    def find(kernel: str, case_name: str) -> tuple[Case, list[Contender]]:
        if kernel not in last or last[kernel][0].name != case_name:
            last.clear()
            walk = walks.setdefault(kernel, find_contests((kernel,))[kernel]("cpu"))
            last[kernel] = next(found for found in walk if found[0].name == case_name)
        return last[kernel]

    return find


def test_speed(benchmark, contest_of, kernel: str, case_name: str, impl: str) -> None:
    """Right first, then timed."""
    case, contenders = contest_of(kernel, case_name)
    contender = next(item for item in contenders if item.impl == impl)
    contender.check()
    benchmark.group = f"{kernel} {case_name} ({case.items} {case.unit})"
    benchmark.extra_info |= {"bytes": case.bytes, "flops": case.flops, "is_rival": contender.is_rival}
    benchmark.pedantic(contender.run, rounds=7, warmup_rounds=1)
