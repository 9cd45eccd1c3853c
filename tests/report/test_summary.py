"""The text of an explanation."""

import pytest

from biasprop import SourceError


def test_text(image, table):
    text = table.summary(["age", "weight", "height", "pressure"])
    assert "f(x) =" in text
    assert "w.x" in text
    assert any(name in text for name in ("age", "pressure"))
    assert "complete to" in text
    assert "target" in str(image)
    assert "Explanation(3 examples" in repr(image)
    assert image.sources["0"].operation == "conv2d"
    with pytest.raises(SourceError, match="no bias source|No bias source"):
        image.sources["9"]
