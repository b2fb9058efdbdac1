"""The pages of docs/: all are in the navigation, links lead somewhere, commands parse, Python names what is there.

`zensical build --strict` checks the same links once more, and that the API pages find what they name.
"""

import ast
import contextlib
import importlib
import inspect
import re
import shlex
import types
from pathlib import Path

import jax
import pytest

import jaxepi
from jaxepi import cli, datasets

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PACKAGE = Path(jaxepi.__file__).parent
NAVIGATION = re.findall(r"^ +- .*?(\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
TEXTS = {name: (DOCS / name).read_text(encoding="utf-8") for name in NAVIGATION if (DOCS / name).is_file()}
TEXTS |= {"README.md": (ROOT / "README.md").read_text(encoding="utf-8")}
PYTHON = {
    name: blocks for name, text in TEXTS.items() if (blocks := re.findall(r"^```python\n(.*?)^```", text, re.M | re.S))
}
ROOMS = ("materials", "potentials", "sampling", "hamiltonians", "electrons", "optics", "epi", "plotting", "nn")


def commands(text: str) -> list[str]:
    """Command lines of a page: those of code blocks, and whole ones inside sentences."""
    lines = [line.strip() for line in text.splitlines() if re.match(r" {4,}jaxepi ", line)]
    lines += [line for line in re.findall(r"`(jaxepi [^`]+)`", text.replace("\n", " ")) if "COMMAND" not in line]
    return [line for line in lines if "..." not in line and " | " not in line and not line.endswith("--help")]


def anchors(text: str) -> set[str]:
    """What a link may name in a page: its headings, as Markdown's table of contents calls them."""
    titles = re.findall(r"^#+ +(.*)$", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), re.MULTILINE)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower()) for title in titles}


@contextlib.contextmanager
def as_users_have_it():
    """JAX as it is outside the tests, which promote neither ranks nor types."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


def test_every_page_is_in_the_navigation_once():
    assert sorted(NAVIGATION) == sorted(p.relative_to(DOCS).as_posix() for p in DOCS.rglob("*.md"))


@pytest.mark.parametrize("name", [n for n in NAVIGATION if n in TEXTS])
def test_links_lead_somewhere(name):
    text = re.sub(r"^```.*?^```", "", TEXTS[name], flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        page = (DOCS / name).parent / path if path else DOCS / name
        assert page.resolve().is_relative_to(DOCS), f"{target} leaves the site"
        assert page.is_file(), target
        assert not anchor or anchor in anchors(page.read_text(encoding="utf-8")), target


@pytest.mark.parametrize("name", [n for n, text in TEXTS.items() if commands(text)])
def test_commands_parse(name, tmp_path, monkeypatch):
    for file, text in re.findall(r"^`(\S+\.toml)`:\n\n```toml\n(.*?)^```", TEXTS[name], re.M | re.S):
        (tmp_path / file).write_text(text)
    monkeypatch.chdir(tmp_path)
    for line in commands(TEXTS[name]):
        words = shlex.split(line)[1:]
        named = " ".join(words) in [*cli.COMMANDS, *cli.GROUPS]
        assert named or cli._parse(words)[0].run, line


def test_the_example_of_labels_is_read(tmp_path):
    (text,) = re.findall(r"`labels.xyz`:\n\n```text\n(.*?)^```", TEXTS["data.md"], re.M | re.S)
    (tmp_path / "labels.xyz").write_text(text)
    labels = datasets.extxyz.read(tmp_path / "labels.xyz", level="dft").groups[0].labels["dft"]
    assert labels["energy"].tolist() == [-10.5]
    assert labels["forces"][0].tolist() == [[0.1, 0, 0], [-0.1, 0, 0]]


def resolved(names: list[str], known: dict) -> object | None:
    """What a dotted name is, as far as modules and classes tell; None where it begins with something else."""
    if names[0] not in known:
        return None
    found = known[names[0]]
    for name in names[1:]:
        if not isinstance(found, types.ModuleType | type):
            return None
        found = getattr(found, name)  # raises where the page names what is not there
    return found


def dotted(node: ast.AST) -> list[str] | None:
    """`a.b.c` as a list; None for anything else."""
    if isinstance(node, ast.Name):
        return [node.id]
    inner = dotted(node.value) if isinstance(node, ast.Attribute) else None
    return None if inner is None else [*inner, node.attr]  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", PYTHON)
def test_python_names_what_is_there(name):
    known = {"je": jaxepi, "jaxepi": jaxepi}
    for block in PYTHON[name]:
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module:
                known |= {a.asname or a.name: getattr(importlib.import_module(node.module), a.name) for a in node.names}
            names = dotted(node.func if isinstance(node, ast.Call) else node)
            found = resolved(names, known) if names else None
            if isinstance(node, ast.Call) and callable(found) and getattr(found, "__module__", "").startswith("jaxepi"):
                given = {k.arg: None for k in node.keywords}
                inspect.signature(found).bind(*node.args, **given)


@pytest.mark.parametrize("room", ROOMS)
def test_the_reference_has_all_of_a_room(room):
    """A function that shares its name with a module of the room is not found through the room, and is named by itself."""
    page, folder = (DOCS / "api" / f"{room}.md").read_text(), PACKAGE / room
    assert f"::: jaxepi.{room}\n" in page
    door = max(folder.glob("__init__.py*"), key=lambda path: path.suffix)  # its stub, where it has one
    for node in ast.walk(ast.parse(door.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            module = node.module if node.level == 0 else f"jaxepi.{room}.{node.module}"
            for name in (alias.name for alias in node.names if module.startswith(f"jaxepi.{room}.")):
                hidden = (folder / f"{name}.py").is_file() or (folder / name).is_dir()
                assert not hidden or f"::: {module}.{name}\n" in page, name


def test_the_reference_names_what_is_there():
    for page in (DOCS / "api").glob("*.md"):
        for path in re.findall(r"^::: jaxepi\.(\S+)", page.read_text(), re.MULTILINE):
            place = PACKAGE.joinpath(*path.split("."))
            if place.is_dir() or place.with_suffix(".py").is_file():
                continue
            source = place.parent.with_suffix(".py").read_text()
            assert re.search(rf"^(def|class) {place.name}\b", source, re.MULTILINE), path


RUN = ("bands", "phonons", "sampling", "trajectory", "models", "gradients", "machines")
"""Without absorption, whose Python is the README's, which a test of its own runs, and sweeps (test_sweeps.py)."""


@pytest.mark.slow
@pytest.mark.parametrize("name", [f"how-to/{page}.md" for page in RUN])
def test_python_runs(name, tmp_path, monkeypatch):
    if name == "how-to/phonons.md":
        pytest.importorskip("phonopy", reason="its last block reads phonopy's files")
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    with as_users_have_it():
        for block in PYTHON[name]:
            exec(
                compile(block.replace("supercell(2)", "supercell(1)"), name, "exec"), names
            )  # seconds instead of minutes
