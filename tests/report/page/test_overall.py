"""Pages of whole data sets in a real browser: figures, a gallery that opens examples, nothing that runs from a name."""

import numpy as np
import pytest
import torch
from audits import batches, classifier, examples
from datasets_of import Digits, images_net, photo_net
from PIL import Image
from torch import nn

import biasprop
from biasprop.loading import Preparation, source_of

HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"


def test_an_audit(opened, tmp_path):
    x, labels = examples()
    audit = biasprop.audit(classifier(), batches(x, labels), progress=False)
    names = ["cat, tom", HOSTILE, "hen", "cow"]
    page = opened(audit.html(tmp_path / "a.html", title=HOSTILE, classes=names))
    assert (tmp_path / "a.html").read_text() == audit.html(title=HOSTILE, classes=names)
    said = page.inner_text("body")
    assert audit.summary() in said
    for name, value in audit.accuracy.items():
        assert f"{name}\t{100 * value:.1f} %" in said
        bar = page.locator("tr", has_text=name).first.locator("i").first.bounding_box()
        cell = page.locator("tr", has_text=name).first.locator("td.bar").bounding_box()
        assert bar["width"] / cell["width"] == pytest.approx(value, abs=0.02)
    heights = page.locator("rect title").all_text_contents()
    assert sum(int(text.split()[-2]) for text in heights) == len(audit.shares)
    order = audit.masses.argsort(descending=True).tolist()
    assert audit.sources[order[0]][0] in said
    assert HOSTILE in said
    assert page.title() == HOSTILE
    hens = (labels == 2).sum().item()
    right = (audit.classes[labels == 2, 0] == 2).double().mean().item()
    assert f"hen\t{hens}\t{100 * right:.0f} %" in said


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1400, "dark")])
def test_attributions_open_their_examples(opened, tmp_path, data, width, scheme):
    made = biasprop.attribute(
        Digits(data, 40, broken=(3,)), images_net(), tmp_path / "out", terms=True, map_size=14, progress=False
    )
    summary = biasprop.summarize(made)
    page = opened(summary.html(), viewport={"width": width, "height": 900}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    said = page.inner_text("body")
    assert summary.headline() in said
    assert "1 example left out" in said
    assert f"w.x + b\t{100 * summary.whole.right / 39:.1f} %" in said
    worst = summary.most_bias[0]
    card = page.locator("section", has_text="largest share of bias").locator("details").first
    assert f"{worst.id}: " in card.inner_text()
    card.locator("summary").first.click()
    card.locator("iframe").scroll_into_view_if_needed()
    frame = card.locator("iframe").element_handle().content_frame()
    frame.wait_for_selector("#map", state="visible")
    row = made.rows([worst.id])[worst.id]
    assert f"f(x) = {row['output']:.4g}" in frame.inner_text("body")
    frame.locator("#patch").evaluate("slider => { slider.value = 40 }")  # one patch: all of it
    frame.locator("#controls").dispatch_event("input")
    page.wait_for_timeout(200)
    frame.locator("#map").focus()
    frame.locator("#map").press("ArrowUp")
    found = frame.locator("#pointed").evaluate("element => ({...element.dataset})")
    assert float(found["beta"]) == pytest.approx(sum(row["bias_attribution"]), rel=1e-4, abs=1e-5)
    whole = float(found["w"]) + float(found["beta"])
    assert whole + row["unattributed"] == pytest.approx(row["output"], rel=1e-4, abs=1e-5)


def test_photos_are_shown_where_the_data_are_given(opened, tmp_path):
    for k in range(4):
        pixels = np.random.default_rng(k).integers(0, 255, (40, 40, 3), dtype=np.uint8)
        (tmp_path / "data").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "data" / f"{k}.png")
    how = Preparation(resize=32, crop=32)
    biasprop.attribute(tmp_path / "data", photo_net(), tmp_path / "out", preparation=how, map_size=8, progress=False)
    summary = biasprop.summarize(tmp_path / "out")
    plain, shown = summary.html(), summary.html(data=source_of(tmp_path / "data", how))
    assert plain != shown
    (tmp_path / "data" / "0.png").unlink()  # what is gone has no photo
    summary.html(data=source_of(tmp_path / "data", how))
    narrow = source_of(tmp_path / "data", Preparation(resize=32, crop=0))
    assert summary.html(data=narrow) != plain
    Image.new("RGB", (32, 99)).save(tmp_path / "data" / "1.png")  # nor has what is another photo now
    summary.html(data=source_of(tmp_path / "data", Preparation(resize=0, crop=0)))
    page = opened(shown)
    page.locator("details.card summary").first.click()
    frame = page.locator("details.card iframe").first.element_handle().content_frame()
    frame.wait_for_selector("#map", state="visible")
    assert frame.locator("#photo").evaluate("image => image.naturalWidth") == 32


def test_of_many_features_the_largest(tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(2, 300)).astype("f4"))
    torch.manual_seed(0)
    biasprop.attribute(tmp_path / "x.npy", nn.Linear(300, 3), tmp_path / "out", progress=False)
    page = biasprop.summarize(tmp_path / "out").html()
    assert "260 others" in page
    assert page.count("&lt;tr title=") < 4 * 50


def test_rows_of_a_table_and_names_that_are_hostile(opened, tmp_path):
    (tmp_path / "t.csv").write_text(f'a,"{HOSTILE.replace(chr(34), chr(34) * 2)}"\n1,2\n3,5\n')
    torch.manual_seed(0)
    biasprop.attribute(tmp_path / "t.csv", nn.Linear(2, 3), tmp_path / "out", progress=False)
    page = opened(biasprop.summarize(tmp_path / "out").html())
    page.locator("details.card summary").first.click()
    frame = page.locator("details.card iframe").first.element_handle().content_frame()
    frame.wait_for_selector("table.waterfall")
    assert HOSTILE in frame.inner_text("table.waterfall")
    assert "owned" not in (page.title(), frame.title())
