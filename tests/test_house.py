"""Rules of the package's layout that neither ruff nor import-linter knows."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "vlaec"
SOURCES = sorted(PACKAGE.rglob("*.py"))
# `train` has commands of its own, the modules that can be run.
COMMANDS = {
    *(PACKAGE / "cli").glob("*.py"),
    *(path for path in (PACKAGE / "train").rglob("*.py") if "__main__" in path.read_text()),
}


def breaches(tree: ast.AST) -> Iterator[str]:
    """What a module of the library must not do: print, exit, read or write the standard streams."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="print" | "exit" | "quit" as name)):
                yield f"line {node.lineno}: {name}()"
            case ast.Attribute(value=ast.Name(id="sys"), attr="exit"):
                yield f"line {node.lineno}: sys.exit"
            case ast.Name(id="SystemExit"):
                yield f"line {node.lineno}: SystemExit"


def seams(tree: ast.AST) -> Iterator[str]:
    """Imports of the package by its own name, and torch's functions by their long name."""
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=str(module), level=0) if module.split(".")[0] == "vlaec":
                yield f"line {node.lineno}: from {module} instead of a relative import"
            case ast.Import(names=names) if any(a.name.split(".")[0] == "vlaec" for a in names):
                yield f"line {node.lineno}: import vlaec instead of a relative import"
            case ast.Attribute(value=ast.Name(id="nn"), attr="functional"):
                yield f"line {node.lineno}: nn.functional instead of F"


@pytest.mark.parametrize("rule", [breaches, seams])
def test_the_rules_see_what_they_forbid(rule: object) -> None:
    wrong = "import vlaec\nfrom vlaec.zoo import find\nnn.functional.relu(x)\n"
    wrong += "print(1)\nsys.exit(1)\nraise SystemExit\n"
    assert callable(rule) and len(list(rule(ast.parse(wrong)))) == 3


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_commands_print_or_exit_and_imports_are_relative(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert not list(seams(tree))
    assert path in COMMANDS or not list(breaches(tree))
