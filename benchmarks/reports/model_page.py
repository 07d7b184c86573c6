"""The page of one model of a site, without scripts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any
from urllib.parse import quote

from benchmarks.reports.static_table import breakable, number, text_of

Model = Mapping[str, Any]
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<link rel="stylesheet" href="{root}report.css">
<title>{name} - The detection zoo</title>
</head>
<body id="detail">
<main>
<nav aria-label="Site"><a href="{root}index.html">All models</a> <a href="{root}index.html#{key}">With plots</a>
<a href="{file}.json">JSON</a></nav>
<h1 class="title">{title}</h1>
{body}
</main>
</body>
</html>
"""


def render(model: Model, data: Mapping[str, Any], root: str) -> str:
    """The page. data: what all models share. root: the address of the site, relative to the page."""
    name = str(model["name"])
    sections = (
        ("Published and measured", numbers(model, data["metrics"])),
        ("Detections", gallery(model["images"], root)),
        ("Network", facts(network(model))),
        ("Preprocessing", preprocessing(data["recipes"].get(model.get("recipe")))),
        ("Files", facts(files(model))),
        ("Training", facts((key.replace("_", " "), escape(str(v))) for key, v in model.get("training", {}).items())),
        ("Notes", items(map(escape, map(str, model.get("notes") or ())))),
        ("Records", "".join(map(record, model["records"]))),
    )
    body = "\n".join(f"<section><h2>{title}</h2>{content}</section>" for title, content in sections if content)
    file = quote(str(model["page"]).rpartition("/")[2].removesuffix(".html"), safe="%")
    return PAGE.format(
        root=root, name=escape(name), key=quote(name, safe=""), file=file, title=breakable(name), body=body
    )


def numbers(model: Model, metrics: Mapping[str, str]) -> str:
    """Published numbers beside measured ones."""
    rows = [(title, key, f"measured_{key}", 1) for key, title in metrics.items()]
    rows += [("images per second", "fps", "measured_fps", 2), ("MiB", "", "measured_mib", 0)]
    shown = [
        (title, text_of(model, a, title, digits), text_of(model, b, title, digits)) for title, a, b, digits in rows
    ]
    lines = "".join(
        f'<tr><th scope="row">{escape(title)}</th><td{number(1)}>{published}</td><td{number(1)}>{measured}</td></tr>'
        for title, published, measured in shown
        if published or measured
    )
    heads = '<th scope="col">Figure</th>'
    heads += "".join(f'<th scope="col"{number(1)}>{title}</th>' for title in ("published", "measured here"))
    table = f"<table><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table>"
    return f'<div class="scroll fit">{table}</div>{hardware(model)}' if lines else ""


def hardware(model: Model) -> str:
    """What speeds were published and measured on."""
    published = f"published speed: {model['hardware']}" if model.get("hardware") and model.get("fps") else None
    measured = f"measured: {model['measured_on']}" if model.get("measured_on") else None
    random = "with random weights" if model.get("measured_weights") == "random" else None
    text = "; ".join(filter(None, (published, measured, random)))
    return f'<p class="hint">{escape(text)}</p>' if text else ""


def network(model: Model) -> Iterable[tuple[str, str]]:
    """The facts about the network and where it comes from."""
    parameters = model.get("params")
    texts = {
        "Family": model.get("family"),
        "Dataset": model.get("dataset"),
        "Tasks": ", ".join(model.get("tasks") or ()),
        "Aliases": ", ".join(model.get("aliases") or ()),
        "Backbone": model.get("backbone"),
        "Style": model.get("style"),
        "Configuration": model.get("config"),
        "Reference": model.get("published_config"),
        "Parameters": f"{parameters:,}" if parameters else None,
        "License of the weights": model.get("license"),
    }
    yield from ((title, escape(str(text))) for title, text in texts.items() if text)
    if model.get("paper"):
        yield "Paper", link(model["paper"]["url"], model["paper"]["title"])


def files(model: Model) -> Iterable[tuple[str, str]]:
    """Where the files lie, and their hashes."""
    yield from (("Checkpoint", link(url)) for url in model.get("urls") or ())
    for key, title in (("sha256", "SHA-256"), ("md5", "MD5")):
        if model.get(key):
            yield title, f"<code>{escape(str(model[key]))}</code>"
    yield from (("Training log", link(url)) for url in model.get("logs") or ())


def preprocessing(recipe: Mapping[str, Any] | None) -> str:
    """The steps from an image to the network's input."""
    if recipe is None:
        return ""
    title = escape(f"Recipe {recipe['name']}, normalization {recipe['normalization']}.")
    return f'<p class="hint">{title}</p>{items(map(escape, [*recipe["steps"], *recipe["extras"]]))}'


def gallery(images: Sequence[Mapping[str, str]], root: str) -> str:
    """Images of detections; they load when they are looked at."""
    figures = "".join(
        f'<figure><img src="{escape(root + image["src"])}" alt="Detections in {escape(image["name"])}" loading="lazy">'
        f"<figcaption>{escape(image['name'])}</figcaption></figure>"
        for image in images
    )
    return f'<div class="gallery">{figures}</div>' if figures else ""


def record(values: Mapping[str, Any]) -> str:
    """One record: what was measured, how, and how it ended."""
    failed = values["status"] != "ok"
    words = (values["kind"], values["protocol"], values["time"], values["device"], values["status"] if failed else None)
    title = escape(" · ".join(str(word) for word in words if word))
    reason = f'<p class="failed">{escape(str(values["reason"]))}</p>' if failed else ""
    pairs = [*values["metrics"].items(), *values["parameters"].items()]
    inside = facts((escape(str(key).replace("_", " ")), escape(str(value))) for key, value in pairs)
    return f'<details class="record"{" open" if failed else ""}><summary>{title}</summary>{reason}{inside}</details>'


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """A list of titles and HTML; equal titles are said once."""
    shown, last = "", None
    for title, content in pairs:
        shown += (f"<dt>{title}</dt>" if title != last else "") + f"<dd>{content}</dd>"
        last = title
    return f"<dl>{shown}</dl>" if shown else ""


def items(texts: Iterable[str]) -> str:
    """A list of HTML."""
    shown = "".join(f"<li>{text}</li>" for text in texts)
    return f"<ul>{shown}</ul>" if shown else ""


def link(url: str, text: str | None = None) -> str:
    """A link to the web; other addresses, such as `hf://`, as text."""
    if not str(url).startswith(("https://", "http://")):
        return escape(text or str(url))
    return f'<a href="{escape(str(url))}" rel="noopener noreferrer">{escape(text or str(url))}</a>'
