"""What the code cites of docs/mathematics.md is there."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "mathematics.md"
CODE = ("src", "tests", "experiments", "examples", "benchmarks")

ONE = r"\d+(?:\.\d+)*"
SEVERAL = rf"{ONE}(?:(?:\s*,\s*and\s+|\s*,\s*|\s+and\s+|\s+to\s+|\s*[-\N{{EN DASH}}]\s*){ONE})*"
NUMBERS = rf"(?:section\s+(?P<one>{ONE})|sections\s+(?P<several>{SEVERAL}))"
FORMS = (
    rf"\bmathematics(?:\.md)?`*,\s+{NUMBERS}",
    rf"\bspec\s+{NUMBERS}",
    rf"\b{NUMBERS}\s+of\s+the\s+specification\b",
    rf"\bmathematics\.md#section-(?P<one>{ONE})",
)
"""How our own document is cited. The bare "section 4.3" of a paper is none of these."""


def citations(text: str) -> Iterator[str]:
    """Every section of our own document that a text cites, also across the lines of a comment."""
    flowing = re.sub(r"\n[ \t]*#?[ \t]*", " ", text)
    for form in FORMS:
        for match in re.finditer(form, flowing, re.IGNORECASE):
            found = match.groupdict()
            if found["one"]:
                yield found["one"]
                continue
            numbers = re.findall(ONE, found["several"])
            yield from numbers
            for first, last in re.findall(r"(\d+)(?:\s+to\s+|\s*[-\N{EN DASH}]\s*)(\d+)", found["several"]):
                yield from map(str, range(int(first) + 1, int(last)))


def sections(document: str) -> dict[str, str]:
    """Number and title of each section that has a heading with its anchor before it."""
    found = re.findall(r'^<a id="section-(\d+)"></a>\n\n## (\d+)\. (.+)$', document, re.MULTILINE)
    assert all(anchor == number for anchor, number, _ in found), "an anchor stands before another section's heading"
    return {number: title for _, number, title in found}


def missing(text: str, document: str) -> list[str]:
    """The cited sections that the document does not have."""
    there = sections(document)
    return [number for number in citations(text) if number not in there]


def test_sections_are_numbered_and_linked():
    document = DOCUMENT.read_text(encoding="utf-8")
    assert list(sections(document)) == [str(n) for n in range(1, len(sections(document)) + 1)]
    headings = re.findall(r"^## (.+)$", document, re.MULTILINE)
    assert len(headings) == len(sections(document)) >= 9, "a section has no anchor"
    assert not [n for n in re.findall(r"\(#section-(\d+)\)", document) if n not in sections(document)]


def test_cited_sections_exist():
    document = DOCUMENT.read_text(encoding="utf-8")
    count, absent = 0, []
    for folder in CODE:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if path == Path(__file__):  # it holds made-up citations
                continue
            text = path.read_text(encoding="utf-8")
            count += len(list(citations(text)))
            absent += [f"{path.relative_to(ROOT)}: section {number}" for number in missing(text, document)]
    assert not absent
    assert count >= 20, "so few citations: are they written in another form now?"


def test_pages_link_to_sections_that_exist():
    document = DOCUMENT.read_text(encoding="utf-8")
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*/README.md")]
    assert not [(page.name, n) for page in pages for n in missing(page.read_text(encoding="utf-8"), document)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The rules (mathematics, section 3).", ["3"]),
        ("See `docs/mathematics.md`, section 4, and more.", ["4"]),
        ("Layers (mathematics, sections 2 and 3) and costs.", ["2", "3"]),
        ("mathematics, sections 1, 2 and 5", ["1", "2", "5"]),
        ("mathematics, sections 1-4", ["1", "4", "2", "3"]),
        ("    # where nothing is wired (mathematics,\n    # section 3)", ["3"]),
        ("a docstring (mathematics,\n    section 12)", ["12"]),
        ("spec section 7; Wang et al.", ["7"]),
        ("A reference of spec sections 2 and 3, written", ["2", "3"]),
        ("See section 9 of the specification.", ["9"]),
        ("[why](../docs/mathematics.md#section-6)", ["6"]),
        ("mathematics, section 4.1", ["4.1"]),
        ("(Hesse et al., NeurIPS 2021, section 4.3)", []),
        ("Wang et al., ICML 2019, section 4.1, and Shrikumar et al. 2017, section 3", []),
        ("Fig. 4 and section 4.1 of the BBp paper; X-DNN paper, section 5", []),
        ("whatever the spec says; section 2", []),
    ],
)
def test_citations_are_told_from_those_of_papers(text, expected):
    assert list(citations(text)) == expected


def test_a_missing_section_is_found():
    document = '# Title\n\n<a id="section-1"></a>\n\n## 1. One\n\ntext\n\n## 2. Without an anchor\n'
    assert sections(document) == {"1": "One"}
    assert missing("mathematics, section 1; spec section 1", document) == []
    assert missing("mathematics, sections 1 and 2; mathematics, section 10", document) == ["2", "10"]
    assert missing("mathematics, section 1.1", document) == ["1.1"]
    with pytest.raises(AssertionError):
        sections('<a id="section-1"></a>\n\n## 2. Two\n')
