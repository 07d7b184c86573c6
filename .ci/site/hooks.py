"""Hooks of the documentation site: pages that are generated, and links that are valid on GitHub and on the site.

mkdocs calls these functions (`hooks` in mkdocs.yml). The command reference comes from the parsers, the pages of the
method families from the manifests, so neither can differ from the code.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import site_commands
import site_families
import site_links
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
NEEDS = re.compile(r"^<!-- needs: (.+?) -->$", re.M)


def on_config(config: Any) -> Any:
    """Add to the navigation the pages of families, and pages of docs/ and reports/ that mkdocs.yml does not place."""
    reports = [page for page in site_links.OUTSIDE if page.startswith("reports/")]
    more = {
        "Reports": [page for page in reports if page not in str(config.nav)],
        "Methods": [{family.title: family.page} for family in site_families.all_families()],
        "How-to": [page for page in pages_of(config) if page not in str(config.nav)],
    }
    config.nav = [{title: [*pages, *more.get(title, [])] for title, pages in item.items()} for item in config.nav]
    return config


def pages_of(config: Any) -> list[str]:
    """The pages directly below docs/."""
    return sorted(path.name for path in Path(config.docs_dir).glob("*.md"))


def on_files(files: Files, config: Any) -> Files:
    """Add the generated pages, and the repository's own pages outside of docs/."""
    pages = {**site_commands.pages(), **site_families.pages()}
    pages.update({name: (ROOT / source).read_text() for name, source in site_links.OUTSIDE.items()})
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Links of a page as the site has them, and what a command needs as a line above it."""
    text = site_links.for_site(markdown, page.file.src_uri)
    return NEEDS.sub(r"*Needs \1:*", text)
