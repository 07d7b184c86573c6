"""Findings of a regression check as a table, JSON, JUnit XML and a job summary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any
from xml.etree import ElementTree

from benchmarks.reports.text_table import format_table
from benchmarks.results.regression import Finding

# Of some 300 bytes each.
SUMMARY_ROWS = 2000


def rows(findings: Sequence[Finding]) -> list[dict[str, object]]:
    """One row per finding."""
    return [
        {
            "measurement": f.measurement,
            "quantity": f.quantity,
            "then": number(f.then),
            "now": number(f.now),
            "verdict": f.verdict,
            "detail": f.detail,
        }
        for f in findings
    ]


def number(value: float | None) -> str:
    """A number in six digits; nothing for none."""
    return "" if value is None else f"{value:.6g}"


def table(findings: Sequence[Finding], style: str = "simple") -> str:
    """A table for people, what fails first."""
    return format_table(rows(sorted(findings, key=lambda f: not f.fails)), style)


def verdict(findings: Sequence[Finding]) -> str:
    """One sentence."""
    bad = sum(f.fails for f in findings)
    better = sum(f.verdict == "improved" for f in findings)
    unsure = sum(f.verdict == "uncertain" for f in findings)
    tail = f", {unsure} changed by less than is certain" if unsure else ""
    return f"{len(findings)} quantities compared: {bad} failed, {better} improved{tail}."


def as_json(findings: Sequence[Finding]) -> dict[str, Any]:
    """Plain data."""
    return {"passed": not any(f.fails for f in findings), "findings": [asdict(f) for f in findings]}


def junit(findings: Sequence[Finding]) -> str:
    """JUnit XML: a test case per finding."""
    failures = sum(f.fails for f in findings)
    suite = ElementTree.Element("testsuite", name="bench check", tests=str(len(findings)), failures=str(failures))
    for f in findings:
        case = ElementTree.SubElement(suite, "testcase", classname=f.measurement, name=f.quantity)
        if f.fails:
            message = f"{f.verdict}: {number(f.then)} -> {number(f.now)} {f.detail}"
            ElementTree.SubElement(case, "failure", message=message)
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def summary(findings: Sequence[Finding]) -> str:
    """Markdown for a GitHub job summary: what fails first, at most SUMMARY_ROWS, and how many are left out."""
    ordered = sorted(findings, key=lambda f: not f.fails)
    left_out = len(ordered) - SUMMARY_ROWS
    note = f"\nLeft out, GitHub shows 1 MiB: {left_out} more rows.\n" if left_out > 0 else ""
    return f"### bench check\n\n{verdict(findings)}\n\n{table(ordered[:SUMMARY_ROWS], 'github')}\n{note}"
