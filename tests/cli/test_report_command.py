"""``biasprop report``: one page of an audit, or of attributions."""

import json

import pytest
from toys import IMAGE


@pytest.mark.parametrize("photos", [True, False])
def test_attributions(folder, run, photos):
    assert run("map", "images", *IMAGE, "--classes", "classes.txt", "--out", "out", "--terms")[0] == 0
    size = ["--resize", 16, "--crop", 16]
    status, out, err = run("report", "out", *(["images", *size] if photos else []))
    assert status == 0, err
    assert out.startswith("2 examples of images explained: b is a median")
    page = (folder / "out" / "report.html").read_text()
    assert "n01_cat.png: " in page
    assert ("data:image" in page) is True


def test_audits(folder, run):
    assert run("audit", "images", *IMAGE, "--classes", "classes.txt", "-o", "out")[0] == 0
    status, out, err = run("report", "out")
    assert status == 0, err
    assert out.startswith("2 examples: the network is right on")
    page = (folder / "out" / "report.html").read_text()
    assert "toys:net on images" in page
    assert '<th scope="row">dog</th>' in page
    about = json.loads((folder / "out" / "audit.json").read_text())
    for errors in ([4], 4, {"id": 4}):  # of others, and nothing in it is trusted
        strange = {**about, "classes": 5, "data": 3, "errors": errors, "model": [1]}
        (folder / "out" / "audit.json").write_text(json.dumps(strange))
        assert run("report", "out")[0] == 0
    (folder / "out" / "audit.json").write_text("[" * 100_000)
    status, _, err = run("report", "out")
    assert (status, "Run the audit again" in err) == (2, True)


def test_an_audit_with_a_page_of_its_own(folder, run):
    options = (*IMAGE, "--classes", "classes.txt", "-o", "out", "--html")
    status, out, err = run("audit", "images", *options)
    assert status == 0, err
    assert "audit.json, audit.png and report.html in" in out
    page = (folder / "out" / "report.html").read_text()
    assert "toys:net on images" in page
    assert '<details class="card">' in page
    assert "n01_cat.png: " in page
    assert run("audit", "images", *options)[0] == 0  # all is done: the page is made again
    assert (folder / "out" / "report.html").read_text() == page


def test_what_is_neither_is_refused(folder, run):
    status, _, err = run("report", "images")
    assert (status, "holds neither attributions" in err) == (2, True)
