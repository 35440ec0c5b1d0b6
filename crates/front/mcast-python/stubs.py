"""Keeps the docstrings of the stub `_pymcast.pyi` those of the native module, for editors that read stubs, and the
attributes of statistics those that the libraries declare.

    python stubs.py           writes them
    python stubs.py --check   says whether they are as they should be

It needs the package to be installed as it is here.
"""

from __future__ import annotations

import ast
import inspect
import sys
from pathlib import Path

from pymcast import _pymcast

STUB = Path(__file__).parent / "python/pymcast/_pymcast.pyi"


def declared(source: str) -> str:
    """The stub's text with the attributes of the classes that have annotations: statistics."""
    lines = source.splitlines()
    classes = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
    for node in reversed(classes):
        types = inspect.get_annotations(getattr(_pymcast, node.name))
        if types:
            attributes = [
                line
                for name, type_ in types.items()
                for line in ("    @property", f"    def {name}(self) -> {type_}: ...")
            ]
            body = [each for each in node.body if not _is_property(each)]
            rest = next(_first_line(each) for each in body if isinstance(each, ast.FunctionDef))
            lines[node.lineno : rest - 1] = attributes
    return "\n".join(lines) + "\n"


def documented(source: str) -> str:
    """The stub's text with the docstrings that the module has."""
    lines = source.splitlines()
    for node, owner in reversed(list(_definitions(ast.parse(source)))):
        indent = " " * (node.col_offset + 4)
        docstring = _docstring(getattr(owner, node.name, None), indent)
        first, last = _first_line(node.body[0]), node.body[0].end_lineno
        if _is_docstring(node.body[0]):
            # What follows, if nothing but the docstring was there, is `...`.
            lines[first - 1 : last] = docstring or []
            if docstring is None and len(node.body) == 1:
                lines[first - 2] += " ..."
        elif docstring is not None and isinstance(node, ast.ClassDef) and first > node.lineno:
            lines[first - 1 : first - 1] = docstring
        elif docstring is not None and lines[first - 1].endswith(": ..."):
            lines[first - 1] = lines[first - 1].removesuffix(" ...")
            lines[first:first] = docstring
    return "\n".join(lines) + "\n"


def _definitions(tree: ast.Module) -> list[tuple[ast.ClassDef | ast.FunctionDef, object]]:
    """What is defined, in the order of the text, each with the object that has it."""
    found: list[tuple[ast.ClassDef | ast.FunctionDef, object]] = []
    for node in tree.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            found.append((node, _pymcast))
        if isinstance(node, ast.ClassDef):
            owner = getattr(_pymcast, node.name)
            found.extend((each, owner) for each in node.body if isinstance(each, ast.FunctionDef))
    return found


def _docstring(documented: object, indent: str) -> list[str] | None:
    """The lines of its docstring; none for what Python documents by itself."""
    name = getattr(documented, "__name__", "")
    text = None if name.startswith("__") else inspect.getdoc(documented)
    if text is None:
        return None
    quoted = text.replace("\\", "\\\\").split("\n")
    if len(quoted) == 1:
        return [f'{indent}"""{quoted[0]}"""']
    rest = [f"{indent}{line}".rstrip() for line in quoted[1:]]
    return [f'{indent}"""{quoted[0]}', *rest, f'{indent}"""']


def _first_line(node: ast.stmt) -> int:
    """Where it begins, with its decorators."""
    decorators = getattr(node, "decorator_list", [])
    return min([node.lineno, *(each.lineno for each in decorators)])


def _is_property(node: ast.stmt) -> bool:
    decorators = getattr(node, "decorator_list", [])
    return any(isinstance(each, ast.Name) and each.id == "property" for each in decorators)


def _is_docstring(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def main() -> None:
    """Writes the stub, or checks it."""
    source = STUB.read_text(encoding="utf-8")
    wanted = documented(declared(source))
    if "--check" not in sys.argv[1:]:
        STUB.write_text(wanted, encoding="utf-8")
    elif source != wanted:
        sys.exit(f"{STUB.name}: it differs from the module; run `python stubs.py`")


if __name__ == "__main__":
    main()
