"""The events of mkdocs that this site uses."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from docs.hooks import formulas, repository, tables  # noqa: E402


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Blocks fenced as ``math`` become pictures."""
    settings = config.mdx_configs.setdefault("pymdownx.superfences", {})
    settings["custom_fences"] = [{"name": "math", "class": "formula", "format": formulas.fence}]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Files of the repository to which a page links become pages."""
    pages = {file.src_uri: tables.filled(file.content_string) for file in files.documentation_pages()}
    for path in repository.linked(pages, ROOT):
        files.append(File.generated(config, repository.page_of(path), content=repository.shown(path, ROOT)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links lead to pages of this site, markers become tables."""
    markdown = tables.with_pages(markdown) if page.file.src_uri == "methods.md" else tables.filled(markdown)
    return repository.relinked(markdown, page.file.src_uri)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Docstrings have roles of reStructuredText, which mkdocstrings shows as they stand."""
    return re.sub(
        r":(?:class|func|meth|mod|data|attr):<code>[~.]*(?:[a-z_]+\.)*([\w.]+)</code>", r"<code>\1</code>", html
    )
