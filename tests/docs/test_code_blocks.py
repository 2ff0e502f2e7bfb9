"""Check of what the pages say to type: Python compiles or runs, shell lines name existing verbs, options, settings."""

from __future__ import annotations

import ast
import pkgutil
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from lidar_ebm.cli import app
from lidar_ebm.config import load_config
from tests.docs.pages import EBM_README, PAGES, ROOT, Block, blocks, inline_code

COMMAND: Any = typer.main.get_command(app)
PYTHON = [block for page in PAGES for block in blocks(page, "python")]
SHELL = [block for page in PAGES for block in blocks(page, "bash")]
# Its examples are not there until test_extending.py puts them in, and runs them.
EXTENDING = ROOT / "docs" / "extending.md"
WITH_RUNS = [page for page in PAGES if any(block.runs for block in blocks(page, "python"))]

# Documented before it is there: (verb, option or None). A test fails as soon as it is, so that the entry is removed.
PENDING: set[tuple[str, str | None]] = set()
# Files that docs/extending.md has the reader write, and the verbs in them; tests/docs/test_extending.py runs them.
EXTENDING = blocks(ROOT / "docs" / "extending.md", "python")
OWN_FILES = {found[1] for block in EXTENDING if (found := re.match(r"# (\S+\.py)\n", block.text))}
OWN_VERBS = {Path(name).stem for name in OWN_FILES if name.startswith("lidar_ebm/cli/")}
# Options of no verb, in the pages' running text.
OTHERS = {"--nnodes", "--nproc-per-node", "--version"}


def names(items: list[Block]) -> list[str]:
    """Names for a test's cases."""
    return [item.name for item in items]


@pytest.mark.parametrize("block", PYTHON, ids=names(PYTHON))
def test_python_compiles(block: Block) -> None:
    compile(block.text, block.name, "exec")


@pytest.mark.parametrize("block", [block for block in PYTHON if block.page != EXTENDING], ids=lambda block: block.name)
def test_python_imports_names_that_exist(block: Block) -> None:
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and f"{(node.module or '').replace('.', '/')}.py" not in OWN_FILES:
            scope: dict[str, Any] = {}
            exec(f"from {node.module} import {', '.join(alias.name for alias in node.names)}", scope)


@pytest.mark.parametrize("page", WITH_RUNS, ids=lambda page: page.name)
def test_marked_python_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    scope: dict[str, Any] = {}
    for block in blocks(page, "python"):
        if block.runs:
            exec(compile(block.text, block.name, "exec"), scope)


def shell_lines(text: str) -> Iterator[list[str]]:
    """Words of each line, without its comment; a line that ends in a backslash goes on."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words:
            yield words


def commands() -> Iterator[tuple[str, list[str]]]:
    """Place and words of every call of the command line, in blocks and in the running text."""
    for block in SHELL:
        if block.page == EXTENDING:
            continue
        for words in shell_lines(block.text):
            if Path(words[0]).name == "lidar-ebm":
                yield block.name, words[1:]
            elif words[0] == "torchrun":
                script = next(index for index, word in enumerate(words) if word.endswith(".py"))
                yield block.name, [Path(words[script]).stem, *words[script + 1 :]]
    for page in PAGES:
        for code in inline_code(page):
            if code.startswith("lidar-ebm ") and not re.search(r"\bVERB\b|…", code):
                yield str(page.relative_to(ROOT)), shlex.split(code)[1:]


@pytest.mark.parametrize(
    ("place", "words"), list(commands()), ids=lambda value: value if isinstance(value, str) else None
)
def test_commands_exist(place: str, words: list[str]) -> None:
    if words[0].startswith("-"):
        return
    verb = words[0]
    if (verb, None) in PENDING or verb in OWN_VERBS:
        return
    assert verb in COMMAND.commands, f"{place}: lidar-ebm has no verb {verb}"
    for word in words[1:]:
        if word.startswith("--") and (verb, word) not in PENDING:
            assert word.partition("=")[0] in options(verb), f"{place}: lidar-ebm {verb} has no option {word}"


def options(verb: str) -> set[str]:
    """Every option of a verb."""
    return {
        option
        for parameter in COMMAND.commands[verb].params
        if parameter.param_type_name == "option"
        for option in (*parameter.opts, *parameter.secondary_opts)
    } | {"--help"}


def test_pending_is_not_there_yet() -> None:
    for verb, option in PENDING:
        there = verb in COMMAND.commands if option is None else option in options(verb)
        assert not there, f"{verb} {option or ''} exists: remove it from PENDING"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_options_in_the_running_text_exist(page: Path) -> None:
    every = {option for verb in COMMAND.commands for option in options(verb)} | OTHERS
    every |= {option for _, option in PENDING if option is not None}
    for code in inline_code(page):
        for word in code.split():
            if word.startswith("--") and not any(code.startswith(f"lidar-ebm {verb}") for verb, _ in PENDING):
                assert word.partition("=")[0] in every, f"{page.name}: {word}: no verb has it"


def settings() -> Iterator[tuple[str, str | None, list[str]]]:
    """Place, preset (or None) and key=value settings of `train` and `config` lines, and of the running text."""
    for place, words in commands():
        if words[0] in ("train", "config") and len(words) > 1 and not words[1].startswith("-"):
            preset = words[1] if re.fullmatch(r"[a-z]\w*", words[1]) else None
            yield place, preset, [word for word in words[2:] if re.match(r"[a-z_.]+=", word)]
    for page in PAGES:
        for code in inline_code(page):
            if re.fullmatch(r"[a-z]+(\.[a-z_]+)+=\S+", code):
                yield str(page.relative_to(ROOT)), None, [code]


@pytest.mark.parametrize(("place", "preset", "changes"), list(settings()))
def test_presets_and_settings_exist(place: str, preset: str | None, changes: list[str]) -> None:
    load_config(preset, changes)


def test_make_targets_and_scripts_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    for block in SHELL:
        for words in shell_lines(block.text):
            if words[0] == "make":
                assert {word for word in words[1:] if "=" not in word} <= targets, block.name
            for word in words:
                if word.endswith(".py"):
                    assert (ROOT / word).is_file(), f"{block.name}: {word}"
    for page in PAGES:
        for code in inline_code(page):
            if re.fullmatch(r"make [a-z-]+", code):
                assert code.split()[1] in targets, f"{page.name}: {code}"


def test_paths_and_names_in_the_running_text_exist() -> None:
    for page in PAGES:
        for code in inline_code(page):
            if re.fullmatch(r"(lidar_ebm|cuda_ops|tools|configs|docs)/[\w./-]*", code) and page.name != "CHANGELOG.md":
                assert (ROOT / code).exists(), f"{page.name}: {code}: no such file"
            if re.fullmatch(r"lidar_ebm(\.\w+)+", code) and page.name != "CHANGELOG.md":
                assert pkgutil.resolve_name(code) is not None, f"{page.name}: {code}"


def test_the_architecture_names_every_room() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for package in (ROOT / "lidar_ebm").glob("*/__init__.py"):
        assert f"`lidar_ebm/{package.parent.name}/`" in text, package.parent.name


def test_commands_are_fenced_as_bash() -> None:
    """So that no example escapes the tests above."""
    for page in PAGES:
        if page != EBM_README:
            text = re.sub(r"^```bash\n.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
            assert not re.search(r"^(    )?(lidar-ebm|make|torchrun) ", text, flags=re.MULTILINE), page.name
