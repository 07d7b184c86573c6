"""Links that lead out of docs/: to pages of the site where there are such, otherwise to the repository."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Page of the site -> file of the repository, outside of docs/.
OUTSIDE = {
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "examples.md": "examples/README.md",
    "reporting-vulnerabilities.md": "SECURITY.md",
    **{f"reports/{path.name}": f"reports/{path.name}" for path in sorted((ROOT / "reports").glob("*.md"))},
}
LINK = re.compile(r"(?<=\]\()([^)#\s:]+)(#[^)\s]*)?(?=\))")


def for_site(markdown: str, page: str) -> str:
    """A page's Markdown with its relative links as the site has them; links to other files become plain text."""
    source = OUTSIDE.get(page, f"docs/{page}")
    return LINK.sub(lambda match: target(match[1], source, page) + (match[2] or ""), unlinked(markdown, source))


def unlinked(markdown: str, source: str) -> str:
    """Links to files that the site does not have, as their text: nobody knows where the repository is hosted."""
    return re.sub(r"(?<!!)\[([^\]]+)\]\(([^)#\s:]+)(#[^)\s]*)?\)", lambda m: kept(m, source), markdown)


def kept(match: re.Match[str], source: str) -> str:
    """A link as it is, or only its text."""
    return match[0] if on_site(resolved(match[2], source)) is not None else f"`{match[1].strip('`')}`"


def resolved(link: str, source: str) -> str:
    """The file of the repository that a link in `source` leads to."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), link))


def on_site(file: str) -> str | None:
    """The page of the site, from its root, for a file of the repository."""
    if file.startswith("docs/"):
        return file.removeprefix("docs/")
    return {outside: page for page, outside in OUTSIDE.items()}.get(file)


def target(link: str, source: str, page: str) -> str:
    """A link, relative to the page of the site."""
    to = on_site(resolved(link, source))
    return link if to is None else posixpath.relpath(to, posixpath.dirname(page) or ".")
