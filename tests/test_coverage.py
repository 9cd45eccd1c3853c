"""A sample of the families that `benchmarks/coverage.py` goes through: explained, complete, in every mode."""

import pytest

from benchmarks.coverage import examine
from benchmarks.networks import subjects

SAMPLE = [
    "BertForSequenceClassification",
    "ModernBertForSequenceClassification",
    "T5EncoderModel",
    "GPT2LMHeadModel",
    "Gemma2ForCausalLM",
    "SwinForImageClassification",
    "Wav2Vec2ForSequenceClassification",
]
BARS = {"float32": 1e-5, "float64": 1e-11}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of transformers and of the networks themselves
@pytest.mark.parametrize("name", SAMPLE)
def test_explained_in_every_mode(name, tmp_path):
    tasks = [("frozen", "float32"), ("tangent", "float64"), ("half", "float64")]
    subject = next(subject for subject in subjects("transformers", tmp_path) if subject.name == name)
    for row in examine(subject, tasks):
        assert row.status == "explained", row
        assert row.completeness <= BARS[row.precision], row
        if row.mode == "tangent" and row.gradient is not None:
            assert row.gradient < 1e-6, row  # autograd's is of a model that rounds to single precision in its norms


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["squeezenet1_1", "resnet18", "mobilenet_v3_small"])
def test_handed_over(name, tmp_path):
    subject = next(subject for subject in subjects("torchvision", tmp_path) if subject.name == name)
    for row in examine(subject, [("hand-over", "float32"), ("hand-over", "float64")]):
        assert row.status == "explained", row
        assert row.handover
        assert row.completeness <= BARS[row.precision], row
        assert row.totals <= BARS[row.precision], row
