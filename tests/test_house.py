"""The order of the house: nothing imports what stands downstream of it, and a bare import stays light."""

import ast
import importlib
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

import jaxepi

PACKAGE = Path(jaxepi.__file__).parent
# What may be imported from the same storey is written once more in `NEIGHBOURS`.
STOREY = {
    "errors": 0,
    "archive": 0,
    "checkpoint": 0,
    "files": 0,
    "schema": 0,
    "edge_lists": 0,
    "compiled": 0,
    "guards": 0,
    "progress": 0,
    "html": 0,
    "labelled": 0,
    "machines": 0,
    "settings": 0,
    "signals": 0,
    "tree": 0,
    "units": 0,
    "structure": 1,
    "symmetry": 1,
    "kpoints": 1,
    "linalg": 1,
    "datasets": 2,
    "graph": 2,
    "layers": 2,
    "model": 3,
    "nn": 3,
    "potentials": 4,
    "hamiltonians": 4,
    "sampling": 5,
    "electrons": 5,
    "optics": 6,
    "epi": 6,
    "fitting": 7,
    "training": 7,
    "materials": 8,
    "results": 8,
    "labelling": 9,
    "workflows": 9,
    "commands": 11,
    "cli": 12,
    "__main__": 13,
}
# Rooms side by side that one may enter from the other: electrons average the snapshots that samplers draw.
NEIGHBOURS = {
    ("electrons", "sampling"),
    ("structure", "errors"),
    ("symmetry", "structure"),
    ("symmetry", "kpoints"),
    ("kpoints", "structure"),
    ("guards", "errors"),
    ("epi", "optics"),
    ("graph", "layers"),
    ("materials", "results"),
}
ONLY_FOR = {"plotting": {"workflows", "commands"}}


def imports(tree: ast.AST) -> set[str]:
    """Full names of the modules a source file imports, at its top or inside functions."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def rooms() -> list[tuple[str, Path]]:
    """Every source file with the room it belongs to; the package's own front door aside."""
    files = [p for p in sorted(PACKAGE.rglob("*.py")) if p != PACKAGE / "__init__.py"]
    return [(p.relative_to(PACKAGE).parts[0].removesuffix(".py"), p) for p in files]


@pytest.mark.parametrize(("room", "path"), rooms(), ids=lambda x: str(x.relative_to(PACKAGE)) if x != str(x) else None)
def test_nothing_downstream_is_imported_upstream(room, path):
    assert room in STOREY or room == "plotting", f"{room} has no place in the order of the house"
    for name in imports(ast.parse(path.read_text())):
        parts = name.split(".")
        if parts[0] != "jaxepi" or len(parts) < 2 or parts[1] == room:
            continue
        other = parts[1]
        if other in ONLY_FOR:
            assert room in ONLY_FOR[other], f"{path.name} imports {other}, which is for {ONLY_FOR[other]} alone"
        elif other in STOREY and room in STOREY:
            allowed = STOREY[other] < STOREY[room] or (room, other) in NEIGHBOURS
            allowed = allowed or STOREY[room] == STOREY[other] == 0
            assert allowed, f"{room}/{path.name} imports {other}, which stands beside or downstream of it"


@pytest.mark.parametrize("path", [p for room, p in rooms() if room != "plotting"], ids=lambda p: p.name)
def test_figures_are_drawn_in_one_room_only(path):
    assert not any(name.split(".")[0] == "matplotlib" for name in imports(ast.parse(path.read_text())))


@pytest.mark.parametrize("path", [p for _, p in rooms()], ids=lambda p: p.name)
def test_no_file_grows_past_a_readable_length(path):
    assert len(path.read_text().splitlines()) <= 420


def module_graph() -> dict[str, set[str]]:
    """Which files of the package each of them imports, at its top, inside functions or for types only."""
    names = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        names[".".join(parts).removesuffix(".__init__")] = path
    found: dict[str, set[str]] = {}
    for name, path in names.items():
        found[name] = set()
        stub = path.with_suffix(".pyi")  # what a room's lazy front door leads to
        text = path.read_text() + (stub.read_text() if stub.is_file() and name != "jaxepi" else "")
        here = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                found[name] |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                above = here[: len(here) + 1 - node.level]
                room = node.module if node.level == 0 else ".".join([*above, *filter(None, [node.module])])
                # A name that is no file comes through the front door of its room.
                full = [f"{room}.{alias.name}" for alias in node.names]
                found[name] |= {n if n in names else str(room) for n in full}
        found[name] = {other for other in found[name] if other in names and other != name}
    return found


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Files that import each other, directly or through others: strongly connected parts of the graph (Tarjan)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        order[name] = low[name] = len(order)
        stack.append(name)
        for other in graph[name]:
            if other not in order:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], order[other])
        if low[name] == order[name]:
            part = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(part) > 1:
                found.append(sorted(part))

    for name in sorted(graph):
        if name not in order:
            visit(name)
    return found


def test_no_two_files_import_each_other():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
    assert circles(module_graph()) == []


def loaded_after(statement: str) -> set[str]:
    code = f"{statement}\nimport sys; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in done.stdout.splitlines()}


def test_a_bare_import_is_light():
    assert not loaded_after("import jaxepi") & {"jax", "jax_md", "matplotlib", "ase", "scipy", "h5py"}


@pytest.mark.slow
def test_the_stages_import_neither_molecular_dynamics_nor_figures():
    stages = "hamiltonians", "electrons", "optics", "sampling", "materials", "potentials"
    loaded = loaded_after("\n".join(f"import jaxepi.{s}" for s in stages))
    assert not loaded & {"jax_md", "matplotlib", "flax", "e3nn_jax"}


def test_importing_leaves_the_settings_of_jax_alone():
    code = "import jax, jaxepi.optics; print(jax.config.jax_enable_x64)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_every_stage_can_be_reached_from_the_front_door():
    for name in jaxepi.__all__:
        if name in ("__version__", "plotting") or (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").is_file():
            continue
        assert getattr(jaxepi, name) is not None
    with pytest.raises(AttributeError, match="attribute phonons"):
        _ = jaxepi.phonons


def test_the_plan_of_the_house_names_every_room_and_no_other():
    rows = re.findall(
        r"^\| (`.*?`) \|", (Path(__file__).parents[1] / "docs" / "architecture.md").read_text(), flags=re.M
    )
    named = {name.strip("`/").removesuffix(".py") for row in rows for name in row.split(", ")}
    outside = {"experiments", "scripts", "tests", "docs"}
    assert named - outside == {room for room, _ in rooms()}


def test_scripts_and_experiments_import_only_names_that_stand():
    missing = []
    for path in sorted(p for room in ("scripts", "experiments") for p in (PACKAGE.parent / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ImportFrom) or (node.module or "").split(".")[0] != "jaxepi":
                continue
            module = importlib.import_module(node.module)
            for name in (alias.name for alias in node.names):
                room = hasattr(module, "__path__") and importlib.util.find_spec(f"{node.module}.{name}")
                if not hasattr(module, name) and not room:
                    missing.append(f"{path.relative_to(PACKAGE.parent)}: {node.module}.{name}")
    assert not missing
