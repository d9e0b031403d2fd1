"""The repository keeps its shape: import directions, file sizes, no pickles, cheap imports, true documentation."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("kernels", "dataset", "sim", "model", "bench", "ray_jobs")
SOURCES = sorted(path for package in (*PACKAGES, "tests") for path in (ROOT / package).rglob("*.py"))
MAX_LINES = 400
KERNEL_PACKAGES = {"numpy", "numba", "scipy", "torch", "triton", "llvmlite"}  # llvmlite: a part of numba


def relative(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def test_import_contracts_hold() -> None:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(r"Contracts: [1-9]\d* kept, 0 broken", result.stdout), result.stdout


def test_kernels_import_only_numerical_packages() -> None:
    allowed = KERNEL_PACKAGES | {"kernels"} | sys.stdlib_module_names
    foreign = []
    for path in sorted((ROOT / "kernels").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            foreign += [f"{path.relative_to(ROOT)}: {name}" for name in names if name.partition(".")[0] not in allowed]
    assert foreign == []


def test_no_source_file_is_longer_than_the_limit() -> None:
    long = {
        str(path.relative_to(ROOT)): count
        for path in SOURCES
        if (count := len(path.read_text().splitlines())) > MAX_LINES
    }
    assert long == {}


def test_no_file_is_a_drawer_for_everything() -> None:
    drawers = [path for path in SOURCES if re.match("util|help|common|misc", path.stem)]
    assert relative(drawers) == []


def test_no_module_hides_the_package_it_is_named_after() -> None:
    shadows = [path for path in SOURCES if path.stem in {"numba", "torch", "triton", "mujoco", "ray", "numpy", "scipy"}]
    assert relative(shadows) == []


def test_tests_are_no_package() -> None:
    assert relative(sorted((ROOT / "tests").rglob("__init__.py"))) == []


def test_every_folder_with_code_is_a_package() -> None:
    folders = {path.parent for path in SOURCES if ROOT / "tests" not in path.parents}
    assert relative(sorted(folder for folder in folders if not (folder / "__init__.py").exists())) == []


def reads_pickle(call: ast.Call) -> bool:
    """Whether a call may run code from a file: np.load or torch.load with their guard off, pickle.load and its like."""
    function = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    owner = call.func.value.id if isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name) else ""
    if (
        owner in {"pickle", "joblib", "dill", "marshal"} and function in {"load", "loads"}
    ) or function == "read_pickle":
        return True
    # The guard must be literally on. Saving an object array is no reading: tests write the files that readers refuse.
    guards = {"allow_pickle": False, "weights_only": True}
    return not function.startswith("save") and any(
        keyword.arg in guards
        and not (isinstance(keyword.value, ast.Constant) and keyword.value.value is guards[keyword.arg])
        for keyword in call.keywords
    )


def test_every_command_line_ends_in_the_wrapper() -> None:
    """What a user can correct is one line and status 2, in all commands alike (`dataset.command_line`)."""
    alone = (
        ROOT / "sim/backends/isaacgym_worker.py"
    )  # no command: started by its client in a Python that has none of ours
    commands = [
        path
        for path in SOURCES
        if "tests" not in path.parts and path != alone and '\nif __name__ == "__main__":' in path.read_text()
    ]
    ending = 'if __name__ == "__main__":\n    sys.exit(run_command("{}", run))\n'
    bare = [path for path in commands if not path.read_text().endswith(ending.format(path.stem))]
    assert len(commands) > 10
    assert relative(bare) == []


def test_nothing_reads_a_pickle() -> None:
    bad = ["np.load(f, allow_pickle=True)", "torch.load(f, weights_only=flag)", "pickle.loads(b)", "pd.read_pickle(f)"]
    good = ["np.load(f, allow_pickle=False)", "torch.load(f, weights_only=True)", "np.save(f, x, allow_pickle=True)"]
    verdicts = [
        any(isinstance(node, ast.Call) and reads_pickle(node) for node in ast.walk(ast.parse(x))) for x in bad + good
    ]
    assert verdicts == [True] * len(bad) + [False] * len(good)
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and reads_pickle(node)
    ]
    assert found == []


def test_importing_the_packages_loads_nothing_heavy() -> None:
    code = (
        "import sys, kernels, dataset, sim, model, dataset.schema, dataset.skeleton, dataset.body.model\n"
        "heavy = {'torch', 'mujoco', 'matplotlib', 'ezc3d', 'smplx', 'ray', 'triton', 'jinja2', 'numba', 'scipy'}\n"
        "print(*sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.split() == []


def test_architecture_page_names_only_what_exists() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    named = set(re.findall(r"`((?:kernels|dataset|sim|model|bench|ray_jobs|tests|docs)/[\w./]*)`", page))
    assert len(named) > 10
    assert sorted(name for name in named if not (ROOT / name).exists()) == []


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", "docs/architecture.md", "docs/conventions.md", "docs/ray.md"]
)
def test_links_between_pages_lead_somewhere(page: str) -> None:
    path = ROOT / page
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text())
    broken = [link for link in links if "://" not in link and not (path.parent / link).exists()]
    assert broken == []
