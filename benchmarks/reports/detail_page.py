"""`detail.json` as one page: tables that sort, curves, the matrix of confusions, the worst images."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

CELLS = 40  # classes of a matrix that is shown: those that are confused most
WIDTH, HEIGHT = 360, 260


def page(detail: Mapping[str, Any]) -> str:
    """The page. detail: as `accuracy.detail` writes it."""
    parts = [f"<h1>{text(detail['title'])}</h1>", f"<p>{detail['images']:,} images.</p>"]
    for one in detail["measures"]:
        parts += measure(one)
    parts += worst(detail["worst"])
    assets = files("benchmarks.reports") / "assets"
    style, script = ((assets / name).read_text(encoding="utf-8") for name in ("detail.css", "detail.js"))
    head = f'<meta charset="utf-8"><title>{text(detail["title"])}</title><style>{style}</style>'
    body = f"{''.join(parts)}<script>{script}</script>"
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>\n'


def text(value: Any) -> str:
    """Text for HTML."""
    return html.escape(str(value))


def measure(one: Mapping[str, Any]) -> list[str]:
    """The sections of box or mask AP."""
    return [
        f"<h2>{text(one['measure'].capitalize())} AP by class</h2><p>In percent. Click on a column to sort.</p>",
        table(one["classes"]),
        "<h2>Precision over recall</h2><p>Mean of the classes at IoU 0.5 to 0.95, and each class at 0.5.</p>",
        f'<div class="row">{plot(one["curves"]["iou"], True)}{plot(one["curves"]["class"], False)}</div>',
        "<h2>Errors by kind (TIDE)</h2>",
        f"<p>AP50 is {100 * one['tide']['ap_50']:.1f}. Points: what it would gain without the errors of a kind.</p>",
        table(tide_rows(one["tide"])),
        "<h2>Confusions</h2>",
        matrix(one["confusion"]),
        "<h2>Calibration</h2>",
        f"<p>Mean difference between scores and the share of true detections: {one['calibration']['ece']:.3f}.</p>",
        table(calibration_rows(one["calibration"]["bins"])),
    ]


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table that sorts."""
    if not rows:
        return "<p>Nothing to show.</p>"
    head = "".join(f'<th scope="col"><button>{text(str(key).replace("_", " "))}</button></th>' for key in rows[0])
    body = "".join(f"<tr>{''.join(cell(key, value) for key, value in row.items())}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def cell(key: str, value: Any) -> str:
    """A cell; APs in percent."""
    if isinstance(value, float):
        value = 100 * value if key.startswith("ap") else value
        return f'<td class="number">{value:.1f}</td>' if key != "share true" else f'<td class="number">{value:.3f}</td>'
    return (
        f'<td class="number">{value:,}</td>'
        if isinstance(value, int)
        else f"<td>{'' if value is None else text(value)}</td>"
    )


def tide_rows(tide: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row per kind."""
    names = {
        "Cls": "class",
        "Loc": "localization",
        "Both": "class and localization",
        "Dupe": "duplicate",
        "Bkg": "background",
        "Miss": "missed object",
        "FP": "all false detections",
        "FN": "all missed objects",
    }
    return [
        {"kind": title, "points": float(tide["points"][key]), "errors": tide["counts"].get(key)}
        for key, title in names.items()
        if key in tide["points"]
    ]


def calibration_rows(bins: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row per bin of scores."""
    return [
        {
            "scores": f"{one['bin_lower']:.1f} to {one['bin_upper']:.1f}",
            "detections": int(one["count"]),
            "share true": float(one["avg_accuracy"]),
        }
        for one in bins
        if one["count"]
    ]


def plot(curves: Mapping[str, Sequence[float]], labeled: bool) -> str:
    """Curves over recall as SVG; a title per curve shows its name."""
    lines = []
    for number, (name, values) in enumerate(curves.items()):
        points = " ".join(f"{WIDTH * i / 100:.1f},{HEIGHT * (1 - value):.1f}" for i, value in enumerate(values))
        shade = f"hsl({210 if labeled else 137 * number % 360} 70% {30 + 5 * (number % 10)}%)"
        lines.append(f'<polyline points="{points}" stroke="{shade}"><title>{text(name)}</title></polyline>')
    frame = f'<rect width="{WIDTH}" height="{HEIGHT}"/>'
    axes = f'<text x="{WIDTH / 2}" y="{HEIGHT + 16}">recall</text>'
    axes += f'<text x="-{HEIGHT / 2}" y="-6" class="up">precision</text>'
    box = f"-24 -8 {WIDTH + 32} {HEIGHT + 32}"
    return f'<svg viewBox="{box}" role="img" aria-label="Precision over recall">{frame}{"".join(lines)}{axes}</svg>'


def matrix(confusion: Mapping[str, Any]) -> str:
    """The classes that are confused most; the diagonal is what was right."""
    names, values = confusion["names"], confusion["matrix"]
    last = len(names) - 1
    errors = [sum(values[i][j] + values[j][i] for j in range(last) if j != i) for i in range(last)]
    chosen = [*sorted(sorted(range(last), key=lambda i: -errors[i])[:CELLS]), last]
    head = "".join(f'<th class="up" scope="col"><span>{text(names[j])}</span></th>' for j in chosen)
    rows = "".join(matrix_row(names[i], [values[i][j] for j in chosen], chosen.index(i)) for i in chosen)
    more = f"The {CELLS} of {last} classes that are confused most. " if last > CELLS else ""
    note = f"{more}Rows: objects. Columns: detections with scores of at least {confusion['min_score']}."
    return f'<p>{note}</p><div class="scroll"><table class="matrix"><tr><th></th>{head}</tr>{rows}</table></div>'


def matrix_row(name: str, values: Sequence[int], own: int) -> str:
    """One class of objects."""
    total = max(sum(values), 1)
    cells = "".join(
        f'<td style="--share:{value / total:.3f}" class="{"right" if label == own else "wrong"}">{value or ""}</td>'
        for label, value in enumerate(values)
    )
    return f'<tr><th scope="row">{text(name)}</th>{cells}</tr>'


def worst(images: Sequence[Mapping[str, Any]]) -> list[str]:
    """The gallery."""
    if not images:
        return []
    note = (
        "<p>Left: ground truth. Right: detections with scores of at least 0.3, and what they lack. Green: true; "
        "red: wrong class; orange: localization; violet: both; light blue: duplicate; dark red: background; "
        "white: missed.</p>"
    )
    figures = []
    for one in images:
        said = ", ".join(f"{count} {kind}" for kind, count in one["errors"].items())
        image = f'<img src="{text(one["file"])}" alt="" loading="lazy">' if "file" in one else "<p>No image file.</p>"
        figures.append(f"<figure>{image}<figcaption>{text(one['image'])}: {text(said)}</figcaption></figure>")
    return ["<h2>The worst images</h2>", note, *figures]
