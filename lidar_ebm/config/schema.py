"""The configuration explained: a resolved one with a comment at every setting, and a JSON schema for editors.

What a setting means is written once, as a comment beside its default in `config.py`, and read from there.
"""

from __future__ import annotations

import ast
import inspect
import io
import json
import textwrap
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from lidar_ebm.config.config import Config
from lidar_ebm.config.loading import load_config

WIDTH = 120
LONGEST_BESIDE = 100  # where a line with its comment would be longer, the comment stands above


def resolved_yaml(name: str | Path | None = None, overrides: list[str] | None = None) -> str:
    """A configuration with every default filled in and explained, as YAML that `load_config` reads.

    Args:
        name: a preset or the path of a YAML file; None for the defaults.
        overrides: `dotted.key=value` strings.

    Raises:
        InputError: as `load_config`.
    """
    return "\n".join(_explained(load_config(name, overrides), 0)) + "\n"


def schema_json() -> str:
    """The JSON schema of configuration files: names, kinds, ranges and meanings of all settings."""
    schema = _flattened(Config.model_json_schema())
    for model in models(Config):
        definition = schema if model is Config else schema["$defs"][model.__name__]
        for field, meaning in comments(model).items():
            definition["properties"][field]["description"] = meaning
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


@cache
def comments(model: type[BaseModel]) -> dict[str, str]:
    """Comments on a model's fields in its source: beside a field, in the lines above it, or in the class's end."""
    source = textwrap.dedent(inspect.getsource(model))
    (definition,) = ast.parse(source).body
    assert isinstance(definition, ast.ClassDef)
    remarks = {
        token.start[0]: token.string.lstrip("# ").rstrip()
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT and token.start[1] > 0
    }
    descriptions: dict[str, str] = {}
    statements = definition.body
    for position, statement in enumerate(statements):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        before = statements[position - 1].end_lineno if position else definition.lineno
        is_last = position + 1 == len(statements)
        after = max(remarks, default=0) if is_last else statement.end_lineno
        assert before is not None and after is not None  # parsed code has line numbers
        own = [remarks[line] for line in range(before + 1, after + 1) if line in remarks]
        if own:
            descriptions[statement.target.id] = " ".join(own)
    return descriptions


def _explained(model: BaseModel, indent: int, *, explain: bool = True) -> Iterator[str]:
    """The lines of a model's settings."""
    pad = " " * indent
    meanings = comments(type(model)) if explain else {}
    for field in type(model).model_fields:
        value = getattr(model, field)
        meaning = meanings.get(field, "")
        if isinstance(value, BaseModel):
            if indent == 0:
                yield ""
            if explain:
                yield from _comment(meaning or _summary(type(value)), pad)
            yield f"{pad}{field}:"
            yield from _explained(value, indent + 2, explain=explain)
        elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
            if indent == 0:
                yield ""
            if explain:
                yield from _comment(meaning or _summary(type(value[0])), pad)
            yield f"{pad}{field}:"
            for number, item in enumerate(value):
                first, *rest = _without_leading_comments(_explained(item, indent + 4, explain=explain and not number))
                yield f"{pad}  - {first.lstrip()}"
                yield from rest
        else:
            line = f"{pad}{field}: {_flow(value)}"
            if meaning and len(line) + 3 + len(meaning) <= LONGEST_BESIDE:
                yield f"{line}  # {meaning}"
                continue
            yield from _comment(meaning, pad)
            if len(line) <= WIDTH or not isinstance(value, dict | tuple):
                yield line
                continue
            yield f"{pad}{field}:"
            if isinstance(value, dict):
                yield from (f"{pad}  {key}: {_flow(item)}" for key, item in value.items())
            else:
                yield from (f"{pad}  - {_flow(item)}" for item in value)


def _without_leading_comments(lines: Iterator[str]) -> list[str]:
    """Lines of which the first holds a setting, so that a dash can come before it; comments then follow."""
    kept = list(lines)
    place = next(number for number, line in enumerate(kept) if not line.lstrip().startswith("#"))
    return [kept[place], *kept[:place], *kept[place + 1 :]]


def _comment(text: str, pad: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=f"{pad}# ", subsequent_indent=f"{pad}# ")


def _summary(model: type[BaseModel]) -> str:
    return (inspect.getdoc(model) or "").split("\n\n")[0].replace("\n", " ")


def _flow(value: Any) -> str:
    """A value on one line."""
    plain = json.loads(json.dumps(value))  # tuples become lists
    return yaml.safe_dump(plain, default_flow_style=True, width=10_000, sort_keys=False).removesuffix("...\n").strip()


def models(model: type[BaseModel]) -> set[type[BaseModel]]:
    """A model and those that its settings are made of."""
    classes = {model}
    for field in model.model_fields.values():
        candidates = [field.annotation, *getattr(field.annotation, "__args__", ())]
        for kind in candidates:
            if inspect.isclass(kind) and issubclass(kind, BaseModel):
                classes |= models(kind)
    return classes


def _flattened(schema: Any) -> Any:
    """Without `allOf` of a single part, which some versions of pydantic write, and titles, which are the names anew."""
    if isinstance(schema, dict):
        if len(schema.get("allOf", ())) == 1:
            schema = {**schema.pop("allOf")[0], **schema}
        return {key: _flattened(value) for key, value in schema.items() if key != "title"}
    return [_flattened(value) for value in schema] if isinstance(schema, list) else schema
