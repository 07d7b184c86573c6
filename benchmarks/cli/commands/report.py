"""`bench report`: tables from records."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import UsageError

if TYPE_CHECKING:
    from benchmarks.reports.table import Table
    from benchmarks.results.record import Record
    from benchmarks.results.store import Store
    from zoo.manifest.entry import Entry

HELP = {
    "markdown": "in GitHub's Markdown (the default)",
    "html": "one self-contained page of the whole zoo with everything that was measured",
    "csv": "comma-separated: one line per record, or per row with --zoo or --comparison",
    "json": "tables as JSON",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    formats = parser.add_mutually_exclusive_group()
    for name, text in HELP.items():
        formats.add_argument(f"--{name}", dest="format", action="store_const", const=name, help=text)
    help_text = "write a leaderboard for a static host there: an index, a page per model, JSON, images"
    formats.add_argument("--site", type=Path, metavar="DIR", help=help_text)
    add("--zoo", action="store_true", help="the tables of the whole zoo, published beside measured")
    add("--comparison", action="store_true", help="MMDetection's published comparison tables, measured columns beside")
    help_text = (
        "with --html or --site: images of detections, in a subfolder for each model, as `zoo detect --out` writes them"
    )
    add("--images", type=Path, metavar="DIR", help=help_text)
    add("--model", metavar="GLOB", help="only these models")
    add("--family", metavar="NAME", help="with --zoo: only this family")
    add("--all", action="store_true", help="every record, not only the newest of equal measurements")
    add("--results", metavar="FILE", help="result store (default: $ZOO_RESULTS, else results.db)")
    add("--out", metavar="FILE", help="write there (default: to standard output)")
    parser.set_defaults(format="markdown")


def run(args: argparse.Namespace) -> None:
    """Select the records, make the tables, write them."""
    from benchmarks.reports import markdown
    from benchmarks.results.store import Store

    store = Store(args.results)
    records = store.select(model=args.model, latest=not args.all, samples=False)
    if args.site is not None:
        write_site(args, records, store)
        return
    text = render(args, records, store)
    if args.out:
        markdown.write(text, Path(args.out))
    else:
        print(text, end="")


def render(args: argparse.Namespace, records: list[Record], store: Store) -> str:
    """The report as text, in the format asked for."""
    from benchmarks.reports import flat, markdown

    if args.images is not None and args.format != "html":
        raise UsageError("--images go into --html and --site; other formats cannot hold them.")
    if args.format == "html":
        from benchmarks.reports import html

        return html.render(entries(args, records), with_curves(records, store), images(args.images))
    if not (args.zoo or args.comparison) and not records:
        raise UsageError(f"{store.path} has no records to report. `bench inference` makes some.")
    if args.format == "csv" and not (args.zoo or args.comparison):
        return flat.records_csv(records)
    title, intro, tables = content(args, records)
    if args.format == "csv":
        return flat.tables_csv(tables)
    return flat.tables_json(tables) if args.format == "json" else markdown.render(tables, title, intro)


def write_site(args: argparse.Namespace, records: list[Record], store: Store) -> None:
    """Write the leaderboard, and say where it begins."""
    if args.out or args.zoo or args.comparison:
        raise UsageError("--site DIR has the whole zoo and says where to write; leave out --out, --zoo, --comparison.")
    from benchmarks.reports import site

    files = site.write(entries(args, records), with_curves(records, store), images(args.images), args.site)
    print(f"bench: wrote {len(files)} files; the site begins at {files[-1]}", file=sys.stderr)


def content(args: argparse.Namespace, records: list[Record]) -> tuple[str, str, list[Table]]:
    """Title, a word on the numbers, and tables."""
    if args.zoo:
        from benchmarks.reports import published

        return "The zoo", published.NOTE, published.tables(entries(args, records), records)
    if args.comparison:
        from benchmarks.reports import comparison

        return "Comparison with Detectron2 and others", "", comparison.tables(comparison.read_facts(), records)
    from benchmarks.reports import measured

    return "Measured on this machine", "", measured.tables(records)


def entries(args: argparse.Namespace, records: list[Record]) -> list[Entry]:
    """The models that are asked for."""
    from benchmarks.results import selection

    return selection.entries_with(records, args.model or "*", args.family)


def with_curves(records: list[Record], store: Store) -> list[Record]:
    """The records, those that have training curves with their samples."""
    from benchmarks.reports import html

    wanted = {record.id for record in records}
    curves = {r.id: r for kind in html.CURVES for r in store.stream(kind=kind) if r.id in wanted}
    return [curves.get(record.id, record) for record in records]


def images(folder: Path | None) -> dict[str, list[Path]]:
    """Images of detections by model: those in the subfolders of `folder` that are called like models."""
    if folder is None:
        return {}
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder. `zoo detect MODEL IMAGE --out {folder}/MODEL` fills one.")
    folders = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_dir()}
    result = {model: shown for model, path in folders.items() if (shown := viewable(path))}
    if not result:
        raise UsageError(f"{folder} has no subfolder with images, such as `zoo detect MODEL IMAGE --out DIR/MODEL`.")
    return result


def viewable(folder: Path) -> list[Path]:
    """The images in a folder that browsers show."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"))
