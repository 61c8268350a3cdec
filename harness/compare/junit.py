"""A comparison as JUnit XML: a suite for each pair of cells, a case for each column that decides.

The form is that of Jenkins' schema (xunit-plugin, `junit-10.xsd`), which GitLab, CircleCI and
others read too. What could not be told is a skipped case, so that it shows and fails nothing.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

from ..observe.text import escape
from .render import conclusion, losses_of, remarks, why
from .verdict import CellOutcome, Finding, Outcome

# What XML 1.0 cannot hold even as a reference (its production `Char`).
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(outcome: Outcome) -> bytes:
    """The file's content."""
    root = ElementTree.Element("testsuites", name=_xml(f"agemem-eval compare {outcome.base.name}"))
    for cell in outcome.cells:
        _suite(root, cell, outcome)
    if outcome.missing:
        suite = ElementTree.SubElement(root, "testsuite", name="cells of BASE")
        for frame in outcome.missing:
            key = frame.base
            name = _xml(f"{key.env}/{key.split}, {key.memory}, {key.model}")
            case = ElementTree.SubElement(suite, "testcase", name=name, classname="coverage")
            _add(case, "failure", "lost coverage", "NEW has no such cell")
    suites = list(root)
    for element in suites:
        _count(element, [element])
    _count(root, suites)
    ElementTree.indent(root)
    text: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _suite(root: ElementTree.Element, cell: CellOutcome, outcome: Outcome) -> None:
    suite = ElementTree.SubElement(root, "testsuite", name=_xml(cell.name))
    notes = "\n".join([*remarks(outcome), conclusion(outcome)])
    place = _xml(f"{cell.pair.base.base.env}.{cell.pair.base.base.memory}")
    case = ElementTree.SubElement(suite, "testcase", name="coverage", classname=place)
    if cell.lost:
        _add(case, "failure", "lost coverage", "; ".join(losses_of(cell)))
    for finding in cell.findings:
        if finding.decides:
            name = _xml(finding.metric.column)
            case = ElementTree.SubElement(suite, "testcase", name=name, classname=place)
            _outcome(case, finding, outcome.settings.require_power)
    ElementTree.SubElement(suite, "system-out").text = _xml(notes)


def _outcome(case: ElementTree.Element, finding: Finding, require_power: bool) -> None:
    text = why(finding)
    if finding.verdict == "regression":
        _add(case, "failure", "regression", text)
    elif finding.verdict in ("cannot tell", "not scored"):
        _add(case, "failure" if require_power else "skipped", finding.verdict, text)
    else:
        ElementTree.SubElement(case, "system-out").text = _xml(f"{finding.verdict}: {text}")


def _add(case: ElementTree.Element, tag: str, type_: str, text: str) -> None:
    message = _xml(f"{type_}: {text}")
    ElementTree.SubElement(case, tag, type=type_, message=message).text = message


def _count(element: ElementTree.Element, suites: list[ElementTree.Element]) -> None:
    cases = [case for suite in suites for case in suite.iter("testcase")]
    element.set("tests", str(len(cases)))
    element.set("failures", str(sum(case.find("failure") is not None for case in cases)))
    element.set("errors", "0")
    if element.tag == "testsuite":
        element.set("skipped", str(sum(case.find("skipped") is not None for case in cases)))


def _xml(text: str) -> str:
    return _NO_XML.sub("�", escape(text, lines=True))
