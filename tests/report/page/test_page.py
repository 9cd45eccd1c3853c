"""The interactive page, in a real browser: what it shows is what Python says, and it shows nothing else."""

import json
import re
from itertools import pairwise

import numpy as np
import pytest
import torch
from folders import byte_level, continuation
from helpers import randomise
from torch import nn

import biasprop
from biasprop import InputError
from biasprop.results import token_texts

HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"


def net():
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 6, 5, stride=2), nn.ReLU(), nn.Conv2d(6, 8, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(4)]
    return randomise(nn.Sequential(*layers, nn.Flatten(), nn.Linear(128, 6)))


@pytest.fixture(scope="module")
def photo():
    """A drawing of our own, 224 pixels wide, and x of it."""
    rows, columns = np.mgrid[0:160, 0:224] / 224
    pixels = np.stack([rows, columns, 0.5 + 0.5 * np.sin(20 * rows * columns)], -1)
    return pixels, torch.from_numpy(pixels.transpose(2, 0, 1)).float()[None]


@pytest.fixture(scope="module")
def explanation(photo):
    return biasprop.explain(net(), photo[1])


def pointed(page):
    """The numbers of the patch that is pointed at."""
    data = page.locator("#pointed").evaluate("element => ({...element.dataset})")
    return {name: float(value) for name, value in data.items()}


def set_patch(page, size):
    page.locator("#patch").evaluate("(slider, size) => { slider.value = size }", size)
    page.locator("#patch").dispatch_event("input")
    page.locator("#controls").dispatch_event("input")
    page.wait_for_timeout(100)


def test_patches_have_the_sums_that_python_says(explanation, photo, opened):
    page = opened(explanation.html(image=photo[0], classes=[f"class {k}" for k in range(6)]))
    cell = 2  # 224 pixels in 112 cells
    canvas = page.locator("#map")
    box = canvas.bounding_box()
    for size, row, column in ((1, 3, 5), (4, 2, 7), (7, 11, 15), (40, 1, 2)):
        set_patch(page, size)
        pixels = size * cell
        scale = box["width"] / 224
        x, y = (min((k + 0.5) * pixels * scale, side - 2) for k, side in ((column, box["width"]), (row, box["height"])))
        page.mouse.move(box["x"] + x, box["y"] + y)
        found = pointed(page)
        regions = explanation.regions(pixels)
        columns = -(-224 // pixels)
        k = int(found["row"]) * columns + int(found["column"])
        assert (int(found["row"]), int(found["column"])) == (row, column)
        assert found["w"] == pytest.approx(regions.weight_attribution[0, k].item(), rel=1e-4, abs=1e-6)
        assert found["beta"] == pytest.approx(regions.bias_attribution[0, k].item(), rel=1e-4, abs=1e-6)
    total = 0.0
    set_patch(page, 40)
    canvas.focus()
    for _ in range(5):
        canvas.press("ArrowUp")
        canvas.press("ArrowLeft")
    for row in range(2):
        for column in range(3):
            found = pointed(page)
            assert (found["row"], found["column"]) == (row, column)
            total += found["w"] + found["beta"]
            canvas.press("ArrowRight")
        canvas.press("ArrowDown")
        canvas.press("ArrowLeft")
        canvas.press("ArrowLeft")
    assert total == pytest.approx(explanation.output.item(), rel=1e-5)


def test_classes_side_by_side_their_difference_and_the_parts_of_layers(explanation, photo, opened):
    page = opened(explanation.html(image=photo[0], top=3))
    tabs = page.locator("[role=tab]")
    assert tabs.count() == 3
    order = net()(photo[1])[0].argsort(descending=True)[:3].tolist()
    assert [re.findall(r"\d+", tabs.nth(k).inner_text())[0] for k in range(3)] == [str(k) for k in order]
    page.locator("#map").focus()
    page.locator("#map").press("ArrowUp")
    first = pointed(page)
    tabs.nth(1).click()
    page.locator("#map").press("ArrowUp")
    second = pointed(page)
    other = biasprop.explain(net(), photo[1], target=order[1])
    assert page.locator("#sentence").inner_text().startswith(f"f(x) = {other.output.item():.4g}")
    tabs.nth(1).press("ArrowLeft")
    page.locator("#compare").select_option("1")
    page.locator("#map").press("ArrowUp")
    difference = pointed(page)
    for name in ("w", "beta"):
        assert difference[name] == pytest.approx(first[name] - second[name], rel=1e-3, abs=1e-6)
    page.locator("#compare").select_option("")
    buttons = page.locator("button[data-source]:visible")
    assert buttons.count() == 3
    name = buttons.nth(0).inner_text()
    set_patch(page, 40)
    buttons.nth(0).click()
    assert buttons.nth(0).get_attribute("aria-pressed") == "true"
    page.locator("#map").press("ArrowUp")
    alone = biasprop.explain(net(), photo[1], sources=name).regions(80)
    found = pointed(page)
    assert (found["w"], found["beta"]) == (0, pytest.approx(alone.bias_attribution[0, 0].item(), rel=1e-4, abs=1e-6))
    buttons.nth(0).click()
    assert buttons.nth(0).get_attribute("aria-pressed") == "false"


def pixels_of(page):
    script = "canvas => Array.from(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data)"
    return np.array(page.locator("#map").evaluate(script), dtype=int)


def test_switches_and_opacity_draw_anew(explanation, photo, opened):
    page = opened(explanation.html(image=photo[0], top=1, sources=0))
    both = pixels_of(page)
    page.locator("input[value=beta]").check()
    page.wait_for_timeout(100)
    assert np.abs(pixels_of(page) - both).max() > 20
    page.locator("#opacity").evaluate("slider => { slider.value = 0 }")
    page.locator("#opacity").dispatch_event("input")
    page.wait_for_timeout(100)
    bare = pixels_of(page).reshape(-1, 4)
    assert np.abs(bare[:, 0] - bare[:, 2]).max() <= 1  # the photo alone, in grey


def test_the_size_of_a_page_and_how_fast_it_draws(browser, tmp_path):
    torch.manual_seed(0)
    model = randomise(nn.Sequential(nn.Conv2d(3, 8, 7, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 55 * 55, 9)))
    picture = np.random.default_rng(0).integers(0, 255, (224, 224, 3), dtype=np.uint8)
    x = torch.from_numpy(picture.transpose(2, 0, 1) / np.float32(255))[None]
    html = biasprop.explain(model, x).html(tmp_path / "p.html", image=picture, top=5)
    assert len(html) < 1.5e6
    page = browser.new_page()
    page.goto((tmp_path / "p.html").as_uri())
    page.wait_for_selector("body.moving")
    opening = page.evaluate("performance.getEntriesByType('navigation')[0].duration")
    drags = page.evaluate(
        """async () => {
            const slider = document.getElementById("patch"), times = [];
            for (let size = 1; size <= 40; size++) {
                const started = performance.now();
                slider.value = size;
                slider.dispatchEvent(new Event("input", {bubbles: true}));
                await new Promise(requestAnimationFrame);
                await new Promise(requestAnimationFrame);
                times.push(performance.now() - started);
            }
            return times;
        }"""
    )
    page.close()
    assert opening < 1000
    assert np.median(drags) < 100


def test_a_hostile_name_stays_text(photo, opened):
    page = opened(biasprop.explain(net(), photo[1]).html(classes=[HOSTILE] * 6, title=HOSTILE, top=3))
    assert page.title().startswith("</script>")
    assert "<script>" in page.locator("[role=tab]").nth(0).inner_text()
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
    table = opened(biasprop.explain(model, torch.randn(1, 3)).html(features=[HOSTILE, "a", "b"], classes=[HOSTILE] * 2))
    assert table.title().startswith("</script>")
    assert table.locator("th", has_text="<script>").count() > 0
    assert table.locator("script").count() == 2


@pytest.mark.parametrize("width", [390, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_narrow_and_wide_light_and_dark(explanation, photo, opened, width, scheme):
    html = explanation.html(image=photo[0], classes=["a very long name of a class indeed " * 3] * 6)
    page = opened(html, viewport={"width": width, "height": 800}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(22, 22, 22)")


def test_without_javascript_it_can_be_read(explanation, photo, opened, browser):
    html = explanation.html(image=photo[0])
    page = opened(html, java_script_enabled=False)
    assert page.locator("#overlay").is_visible()
    assert not page.locator("#controls").is_visible()
    assert "b is" in page.locator("#sentence").inner_text()


def test_a_table_is_a_waterfall_that_ends_at_f(opened):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(60, 8), nn.ReLU(), nn.Linear(8, 1)).eval()
    found = biasprop.explain(model, torch.randn(1, 60), target=0)
    page = opened(found.html(features=[f"feature {k}" for k in range(60)]))
    numbers = [float(text) for text in page.locator(".waterfall .number").all_inner_texts()]
    assert len(numbers) == 42  # forty features, the others, f(x)
    assert sum(numbers[:-1]) == pytest.approx(numbers[-1], abs=0.01 * abs(numbers[-1]) + 1e-3)
    ends = page.evaluate(
        """() => [...document.querySelectorAll(".waterfall .bar i:first-child")].map(
            bar => [parseFloat(bar.style.left), parseFloat(bar.style.left) + parseFloat(bar.style.width)])"""
    )
    for (a, b), (c, d) in pairwise(ends[:-1]):
        assert min(abs(x - y) for x in (a, b) for y in (c, d)) < 0.05


def test_words_tell_their_amounts(opened, tmp_path):
    pytest.importorskip("transformers")
    from folders import classifier, wordpiece

    model, tokenizer = classifier(tmp_path / "bert"), wordpiece(tmp_path / "bert")
    found = biasprop.explain(model, dict(tokenizer(["the film was unbelievably good"], return_tensors="pt")))
    page = opened(found.html(tokenizer=tokenizer, classes=["bad", "good"]))
    words = page.locator(".target:visible .word")
    found_words = found.tokens.words(tokenizer)[0]
    assert words.all_inner_texts() == list(found_words.texts)
    words.nth(2).hover()
    amount = (found_words.weight_attribution + found_words.bias_attribution)[2].item()
    assert page.locator(".target:visible .pointed").inner_text().startswith(f"film: {amount:+.4g} = w * x ")


def test_in_a_notebook_each_page_is_its_own(explanation, opened):
    cells = explanation._repr_html_() + explanation._repr_html_()
    page = opened(f"<!DOCTYPE html><meta charset=utf-8><body>{cells}</body>")
    page.wait_for_timeout(300)
    frames = [frame for frame in page.frames if frame != page.main_frame]
    assert len(frames) == 2
    for frame in frames:
        assert "f(x)" in frame.locator("#sentence").inner_text()
        assert frame.locator("#map").is_visible()


def test_what_a_page_holds_without_a_browser(explanation, tmp_path):
    html = explanation.html(tmp_path / "p.html")
    assert (tmp_path / "p.html").read_text() == html
    assert "http" not in html.replace("http-equiv", "")
    content = json.loads(re.search(r'<script type="application/json" id="content">(.*?)</script>', html, re.DOTALL)[1])
    assert (content["rows"], content["columns"]) == (80, 112)
    with pytest.raises(InputError, match="no example 3"):
        explanation.html(example=3)
    with pytest.raises(InputError, match="image has shape"):
        explanation.html(image=np.zeros((3, 3)))
    loaded = explanation.save(tmp_path / "e.safetensors") or biasprop.load(tmp_path / "e.safetensors")
    assert "f(x)" in loaded.html()


def test_the_next_tokens_of_a_language_model_side_by_side(opened, tmp_path):
    pytest.importorskip("transformers")
    tokenizer = byte_level(tmp_path / "gpt")
    model = continuation(tmp_path / "gpt", tokenizer).eval()
    texts = {"input_ids": torch.tensor([tokenizer(one)["input_ids"][:3] for one in ("the film was", "not a dull")])}
    explanation = biasprop.explain(model, texts)
    several = explanation.likeliest(3)
    with torch.no_grad():
        logits = model(**texts).logits
    for i, (position, first) in enumerate(explanation.target):
        best = logits[i, position].topk(3).indices.tolist()
        assert best[0] == first
        assert [chosen[i] for chosen in several.target] == [(position, token) for token in best]
    page = opened(explanation.html(example=1, tokenizer=tokenizer, top=3))
    tabs = page.locator("[role=tab]").all_inner_texts()
    wanted = [repr(token_texts([chosen[1][1]], tokenizer)[0]) for chosen in several.target]
    assert [tab.rpartition(" ")[0].rpartition(" ")[0] for tab in tabs] == wanted
    page.locator("[role=tab]").nth(1).click()
    assert page.inner_text("#sentence").startswith(f"f(x) = {several.output[1, 1].item():.4g}")
    words = page.locator(".target:visible .word")
    words.nth(0).hover()
    amount = several.for_target(1).tokens.words_of(1, tokenizer).attribution[0].item()
    assert f": {amount:+.4g} = w * x" in page.locator(".target:visible .pointed").inner_text()
    assert wanted[0] in explanation.summary(tokenizer=tokenizer)
