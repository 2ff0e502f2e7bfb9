"""XML without its dangers: no entities, no other files, no endless nesting."""

from __future__ import annotations

import os
import re
from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from lidar_ebm.errors import InputError
from lidar_ebm.formats.fields import read_text

_DEPTH = 64


def read_xml(path: str | os.PathLike[str]) -> Element:
    """Root of an XML file.

    Raises:
        InputError: it cannot be read, is no XML, declares entities, or is nested too deeply.
    """
    # Python has decoded it; and KITTI's own declaration (standalone="true") is none that expat takes.
    text = re.sub(r"\A\s*<\?xml[^>]*\?>", "", read_text(path))
    builder = TreeBuilder()
    depth = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _DEPTH:
            raise InputError(f"{path}:{parser.CurrentLineNumber}: nested too deeply to be a file of boxes.")
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    def refuse(*_: Any) -> int:
        raise InputError(
            f"{path}:{parser.CurrentLineNumber}: declares an entity, which files of boxes have no use for."
        )

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = builder.data
    parser.EntityDeclHandler = refuse
    parser.ExternalEntityRefHandler = refuse
    try:
        parser.Parse(text, True)
        return builder.close()
    except expat.ExpatError as error:
        raise InputError(
            f"{path}:{error.lineno}: this is no XML ({expat.ErrorString(error.code)}); cut short or damaged."
        ) from error
