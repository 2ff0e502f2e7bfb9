"""MkDocs hooks: the front page, the reference pages, and the repository's files that pages link to.

Pages are written to be read in the repository: `docs/kernels.md` links to `../tools/benchmarks/results/kernels_cpu.md`.
On the site such a file is a page under `repository/`, README.md is the front page, and the links follow.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from typer.testing import CliRunner

ROOT = Path(__file__).resolve().parents[1]
FENCE = re.compile(r"^(```.*?^```[^\n]*$)", flags=re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<=\]\()([^)\s#]+)(#[^)\s]*)?(?=\))")
OUTSIDE = re.compile(r"[a-z]+:|/")
SHOWN_AS_CODE = {".py": "python", ".yaml": "yaml", ".toml": "toml"}
PACKAGES = ("lidar_ebm", "cuda_ops")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add a reference page for each room of the package to the navigation."""
    assert config.nav is not None
    section: list[Any] = next(item["Reference"] for item in config.nav if "Reference" in item)
    section += [f"reference/{name}.md" for name in rooms()]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add every page that no file in docs/ holds, and every file of the repository that a page links to."""
    for name, content in reference_pages().items():
        files.append(File.generated(config, f"reference/{name}.md", content=content))
    waiting = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "lidar_ebm" / "ebm" / "README.md"]
    waiting += [path for page in sorted((ROOT / "docs").rglob("*.md")) for path in linked_files(page)]
    while waiting:
        path = waiting.pop()
        uri = site_uri(path)
        if files.get_file_from_path(uri) is not None:
            continue
        if path.suffix in SHOWN_AS_CODE:
            name = path.relative_to(ROOT).as_posix()
            code = f"# `{name}`\n\n````{SHOWN_AS_CODE[path.suffix]}\n{path.read_text(encoding='utf-8')}````\n"
            files.append(File.generated(config, uri, content=code))
            continue
        files.append(File.generated(config, uri, abs_src_path=str(path)))
        if path.suffix == ".md":
            waiting += linked_files(path)
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn the links of a page, written for the repository, into the site's."""
    source = repository_path(page.file.src_uri)
    if source is None:
        return markdown

    def follow(link: re.Match[str]) -> str:
        path = target(source, link[1])
        if path is None or not path.is_file():
            return link[0]
        return posixpath.relpath(site_uri(path), posixpath.dirname(page.file.src_uri)) + (link[2] or "")

    return outside_of_code(markdown, lambda text: LINK.sub(follow, text))


def outside_of_code(markdown: str, change: Callable[[str], str]) -> str:
    """Markdown whose text was changed, but for its fenced blocks."""
    return "".join(part if part.startswith("```") else change(part) for part in FENCE.split(markdown))


def linked_files(page: Path) -> Iterator[Path]:
    """Files of the repository outside docs/ that a Markdown file links to."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for link in LINK.finditer(text):
        path = target(page, link[1])
        if path is not None and path.is_file() and ROOT / "docs" not in path.parents:
            yield path


def target(page: Path, link: str) -> Path | None:
    """The path in the repository that a page's link leads to; None for an address elsewhere."""
    return None if OUTSIDE.match(link) else (page.parent / link).resolve()


def site_uri(path: Path) -> str:
    """The place on the site of a file of the repository."""
    name = path.relative_to(ROOT).as_posix()
    if name == "README.md":
        return "index.md"
    if name.startswith("docs/"):
        return name.removeprefix("docs/")
    if path.name == "README.md":  # which MkDocs would take for the index of its folder
        return f"repository/{path.parent.relative_to(ROOT).as_posix()}.md"
    return f"repository/{name}" + (".md" if path.suffix in SHOWN_AS_CODE else "")


def repository_path(uri: str) -> Path | None:
    """The file of the repository that a page of the site was made from; None for a page that was made up."""
    if uri == "index.md":
        return ROOT / "README.md"
    if not uri.startswith("repository/"):
        candidates = [ROOT / "docs" / uri]
    else:
        path = ROOT / uri.removeprefix("repository/")
        candidates = [path, path.with_suffix("") / "README.md"]
    return next((path for path in candidates if path.is_file()), None)


def rooms() -> dict[str, str]:
    """Page name and dotted name of each package within lidar_ebm, and of the kernels."""
    packages = sorted(path.parent.name for path in (ROOT / "lidar_ebm").glob("*/__init__.py"))
    return {**{name: f"lidar_ebm.{name}" for name in packages}, "cuda_ops": "cuda_ops"}


def reference_pages() -> dict[str, str]:
    """Page name and Markdown of every page of the reference that follows from the code."""
    pages = {name: f"# `{dotted}`\n\n::: {dotted}\n" for name, dotted in rooms().items()}
    return {**pages, "commands": commands_page(), "settings": settings_page()}


def commands_page() -> str:
    """Every verb of the command line with its options, as Markdown."""
    from lidar_ebm.cli import app

    command: Any = typer.main.get_command(app)
    lines = ["# Commands", "", "`lidar-ebm VERB --help` says the same.", ""]
    for name, verb in command.commands.items():
        lines += [
            f"## lidar-ebm {name}",
            "",
            verb.help or "",
            "",
            "| takes | meaning | default |",
            "| --- | --- | --- |",
        ]
        for parameter in verb.params:
            is_option = parameter.param_type_name == "option"
            shown = ", ".join([*parameter.opts, *parameter.secondary_opts]) if is_option else parameter.name.upper()
            default = _default(parameter)
            meaning = " ".join((getattr(parameter, "help", None) or "").split()).replace("|", "\\|")
            lines.append(f"| `{shown}` | {meaning} | {default} |")
        lines += ["", verb.epilog or "", ""]
    return "\n".join(lines)


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    value = parameter.default
    if value is None or isinstance(value, bool) or value == () or callable(value):
        return ""
    return f"`{round(value, 3) if isinstance(value, float) else value}`"


def settings_page() -> str:
    """Every setting with its default and what it means, as Markdown."""
    from lidar_ebm.cli import app

    text = CliRunner().invoke(app, ["config"], catch_exceptions=False).stdout
    head = "`lidar-ebm config NAME` prints a preset that way, `lidar-ebm config --schema` the JSON schema for editors."
    return f"# Settings\n\n{head}\n\n```yaml\n{text}```\n"
