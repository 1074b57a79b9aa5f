"""Links from pages to other files of the repository, which become pages of the site."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Mapping
from pathlib import Path

LINK = re.compile(r"(?<=\]\()(?!https?:|#|mailto:)([^)\s#]+)")
"""The target of a link inside the repository, without its anchor."""
FOLDER = "files"


def linked(pages: Mapping[str, str], root: Path) -> list[str]:
    """The files outside of ``docs/`` to which ``pages`` lead, and those to which these lead, from the ``root``.

    ``pages`` are the Markdown of the site's pages by their place in ``docs/``.
    """
    found: set[str] = set()
    left = {f"docs/{page}": markdown for page, markdown in pages.items()}
    while left:
        source, markdown = left.popitem()
        for target in {_resolved(one[1], source) for one in LINK.finditer(markdown)} - found:
            if not target.startswith("docs/") and (root / target).is_file():
                found.add(target)
                if target.endswith(".md"):
                    left[target] = (root / target).read_text(encoding="utf-8")
    return sorted(found)


def page_of(path: str) -> str:
    """Where the page of a file of the repository lies in the site's sources."""
    return path.removeprefix("docs/") if path.startswith("docs/") else f"{FOLDER}/{path.removesuffix('.md')}.md"


def shown(path: str, root: Path) -> str:
    """The page of a file: itself if it is Markdown, else its text under its name."""
    text = (root / path).read_text(encoding="utf-8")
    if path.endswith(".md"):
        return text
    return f"---\nsearch: {{exclude: true}}\n---\n\n# {path}\n\n```{Path(path).suffix.removeprefix('.')}\n{text}```\n"


def relinked(markdown: str, page: str) -> str:
    """The Markdown of a page of the site, whose links lead to pages instead of files of the repository."""
    source = _source(page)

    def lead(found: re.Match[str]) -> str:
        target = _resolved(found[1], source)
        if source.startswith("docs/") and target.startswith("docs/"):
            return found[1]
        return os.path.relpath(page_of(target), posixpath.dirname(page) or ".")

    return LINK.sub(lead, markdown)


def _source(page: str) -> str:
    """The file that a page shows."""
    if not page.startswith(f"{FOLDER}/"):
        return f"docs/{page}"
    path = page.removeprefix(f"{FOLDER}/")
    return path.removesuffix(".md") if Path(path.removesuffix(".md")).suffix else path


def _resolved(target: str, source: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
