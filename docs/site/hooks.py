"""What makes the pages of docs/ a site: its navigation, the API, and files that lie beside docs/.

Pages link as it suits the repository, such as to ../configs/full.yaml; such files are put into the
site, and the links led there.
"""

from __future__ import annotations

import ast
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "pipeline" / "steadystack"
API = "api.md"
BESIDE = "beside"  # the folder of the site for what lies beside docs/
LINK = re.compile(r"(?<=\]\()(?P<path>[^)#\s:]+)")


def on_config(config: Any) -> Any:
    """Make the navigation of the headings and links of index.md; the API stands in Reference."""
    nav: list[Any] = [{"Home": "index.md"}]
    for part in re.split(r"^## ", (ROOT / "docs" / "index.md").read_text("utf-8"), flags=re.M)[1:]:
        title = part.splitlines()[0]
        pages = [
            {name[:1].upper() + name[1:]: path}
            for name, path in re.findall(r"^\| \[([^]]+)\]\(([^)#]+\.md)\)", part, re.M)
        ]
        nav.append({title: pages + [{"API": API}] * (title == "Reference")})
    config.nav = nav
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the page of the API, and the files beside docs/ that pages lead to."""
    files.append(File.generated(config, API, content=write_api()))
    for page in list(files.documentation_pages()):
        for found in LINK.finditer(page.content_string):
            path = resolve(page.src_uri, found["path"])
            if path and files.get_file_from_path(place(path)) is None:
                files.append(File.generated(config, place(path), abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Lead links out of docs/ to where their files are in the site."""

    def lead(found: re.Match[str]) -> str:
        path = resolve(page.file.src_uri, found["path"])
        if not path:
            return found["path"]
        return posixpath.relpath(place(path), posixpath.dirname(page.file.src_uri) or ".")

    return LINK.sub(lead, markdown)


def resolve(page: str, link: str) -> str:
    """The path of a file beside docs/ that a page of docs/ links to, as of the root; else ""."""
    path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), link))
    inside = path.startswith(("docs/", "..")) or not (ROOT / path).is_file()
    return "" if inside else path


def place(path: str) -> str:
    """Where a file beside docs/ is in the site; what is hidden would be left out of it."""
    return f"{BESIDE}/{path.removeprefix('.')}"


def write_api() -> str:
    """The page of all public names, each from its docstring."""
    lines = ["# API", "", "Every public name, from its docstring; `import steadystack`.", ""]
    for package in (PACKAGE, PACKAGE / "plot"):
        name = ".".join(package.relative_to(PACKAGE.parent).parts)
        for public in list_names(package):
            lines += [f"::: {name}.{public}", ""]
    return "\n".join(lines)


def list_names(package: Path) -> list[str]:
    """What the `__all__` of a door gives out, in order."""
    stub = package / "__init__.pyi"
    tree = ast.parse((stub if stub.exists() else package / "__init__.py").read_text("utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return [one for one in ast.literal_eval(node.value) if one != "plot"]
    raise LookupError(f"{package} has no __all__")
