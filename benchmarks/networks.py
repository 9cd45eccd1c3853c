"""The networks of ``coverage.py``: a small one of every family of torchvision, timm and transformers, weights random.

Nothing is downloaded. Biases and all other parameters of one dimension are shaken, so that no bias is trivially zero,
and the statistics of batch norms are those of a batch of noise, so that activations keep their size through any depth.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["GROUPS", "Network", "Subject", "build", "leading", "subjects"]

GROUPS = ("torchvision", "timm", "transformers")
SIZES = (
    64,
    84,
    96,
    112,
    128,
)  # of images, in pixels: the first that a network of timm takes, else what it was made for
CHOICE_SECONDS = 30.0  # to find the smallest network of one family of timm
TOKENS, LENGTH = 7, 12  # of the second example of a text, the rest is padding; of the first

Input = Tensor | dict[str, Tensor]


@dataclass(frozen=True)
class Subject:
    """One network to explain."""

    group: str
    family: str
    name: str

    def __str__(self) -> str:
        return f"{self.group}/{self.family}/{self.name}"

    @property
    def settings(self) -> str:
        """What was made smaller than the name says."""
        return ", ".join(f"{k}={v}" for k, v in SHALLOW.get(self.family, {}).items()) if self.group == "timm" else ""

    def matches(self, pattern: str) -> bool:
        """Whether ``--only`` means this one: by its name, its family, or both with the group."""
        return any(fnmatch(one, pattern) for one in (self.name, self.family, str(self)))


@dataclass(frozen=True)
class Network:
    """A network that runs, with what it is explained on.

    Attributes:
        model: in eval mode, float32.
        x: two examples: a float tensor, or a mapping as a tokenizer returns it, padded in the second example.
        target: what ``biasprop.explain`` is asked for.
        about: the target in words.
    """

    model: nn.Module
    x: Input
    target: str | Callable[[Any], Tensor]
    about: str

    @property
    def parameters(self) -> int:
        """How many numbers the network has learnt."""
        return sum(p.numel() for p in self.model.parameters())

    @property
    def shapes(self) -> str:
        """Of the input, in words."""
        entries = self.x if isinstance(self.x, dict) else {"": self.x}
        return ", ".join(f"{name} {'x'.join(map(str, x.shape))}".strip() for name, x in entries.items())


def subjects(group: str, folder: Path) -> list[Subject]:
    """All networks of a group; what was found out about timm is kept in the folder."""
    if group == "torchvision":
        return [Subject(group, family, name) for family, (name, _, _) in TORCHVISION.items()]
    if group == "timm":
        return [Subject(group, family, name) for family, name in smallest(folder / "timm.json").items()]
    return [Subject(group, family, recipe.model) for family, recipe in TRANSFORMERS.items()]


def build(subject: Subject) -> Network:
    """The network with its input and target; whatever the network itself raises comes through.

    Raises:
        ValueError: f(x) is not finite.
    """
    torch.manual_seed(0)
    made = {"torchvision": from_torchvision, "timm": from_timm, "transformers": from_transformers}
    model, x = made[subject.group](subject)
    randomise(model)
    calibrate(model, x)
    output = forward(model, x)
    if not leading(output).isfinite().all():
        raise ValueError("f(x) is not finite")
    return Network(model, x, *_target(output, TOKENS - 1 if isinstance(x, dict) else 0))


def forward(model: nn.Module, x: Input) -> Any:
    """What the network gives for x, without gradients."""
    with torch.no_grad():
        return model(**x) if isinstance(x, dict) else model(x)


def leading(output: Any) -> Tensor:
    """The tensor that an output is about: the logits, or the first one."""
    if isinstance(output, Mapping):
        output = output["logits"] if "logits" in output else next(iter(output.values()))
    while isinstance(output, tuple | list):
        output = output[0]
    if not isinstance(output, Tensor):
        raise TypeError(f"the output is a {type(output).__name__}")
    return output


def _target(output: Any, place: int) -> tuple[str | Callable[[Any], Tensor], str]:
    """The predicted class where there are classes, otherwise one number at one place, in words too."""
    found = leading(output)
    if found.dim() == 2 and (isinstance(output, Tensor) or "logits" in output):
        return "predicted", "predicted class"
    index = [place, *(min(7, size - 1) for size in found.shape[2:])]  # 0 may be padding, whose logit may be constant

    def number(output: Any) -> Tensor:
        """One number per example."""
        chosen = leading(output)
        for i in index:
            chosen = chosen.select(1, i)
        return chosen

    return number, f"output[:, {', '.join(map(str, index))}]"


def randomise(model: nn.Module) -> None:
    """Noise on biases and all other parameters of one dimension."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() <= 1 and parameter.is_floating_point():
                parameter.add_(torch.randn_like(parameter), alpha=0.1)


def calibrate(model: nn.Module, x: Input) -> None:
    """The statistics of batch norms taken from noise."""
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    if not norms or isinstance(x, dict):
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
        norm.train()
    forward(model, torch.randn(8, *x.shape[1:]))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()


# torchvision

Made = tuple[nn.Module, Input]
SMALL: dict[str, Any] = {"image_size": 64}
VIDEO = (3, 8, 64, 64)

TORCHVISION: dict[str, tuple[str, tuple[int, ...], dict[str, Any]]] = {
    "AlexNet": ("alexnet", (3, 64, 64), {}),
    "ConvNeXt": ("convnext_tiny", (3, 64, 64), {}),
    "DenseNet": ("densenet121", (3, 64, 64), {}),
    "EfficientNet": ("efficientnet_b0", (3, 64, 64), {}),
    "EfficientNetV2": ("efficientnet_v2_s", (3, 64, 64), {}),
    "GoogLeNet": ("googlenet", (3, 64, 64), {"aux_logits": False, "init_weights": False}),
    "Inception v3": ("inception_v3", (3, 96, 96), {"aux_logits": False, "init_weights": False}),
    "MaxViT": ("maxvit_t", (3, 224, 224), {}),
    "MNASNet": ("mnasnet0_5", (3, 64, 64), {}),
    "MobileNetV2": ("mobilenet_v2", (3, 64, 64), {}),
    "MobileNetV3 small": ("mobilenet_v3_small", (3, 64, 64), {}),
    "MobileNetV3 large": ("mobilenet_v3_large", (3, 64, 64), {}),
    "RegNetX": ("regnet_x_400mf", (3, 64, 64), {}),
    "RegNetY": ("regnet_y_400mf", (3, 64, 64), {}),
    "ResNet": ("resnet18", (3, 64, 64), {}),
    "ResNeXt": ("resnext50_32x4d", (3, 64, 64), {}),
    "Wide ResNet": ("wide_resnet50_2", (3, 64, 64), {}),
    "ShuffleNetV2": ("shufflenet_v2_x0_5", (3, 64, 64), {}),
    "SqueezeNet": ("squeezenet1_1", (3, 64, 64), {}),
    "Swin": ("swin_t", (3, 64, 64), {}),
    "SwinV2": ("swin_v2_t", (3, 64, 64), {}),
    "VGG": ("vgg11", (3, 64, 64), {}),
    "VGG with batch norm": ("vgg11_bn", (3, 64, 64), {}),
    "ViT, patches of 16": ("vit_b_16", (3, 64, 64), SMALL),
    "ViT, patches of 32": ("vit_b_32", (3, 64, 64), SMALL),
    "video: ResNet 3D": ("r3d_18", VIDEO, {}),
    "video: ResNet MC3": ("mc3_18", VIDEO, {}),
    "video: R(2+1)D": ("r2plus1d_18", VIDEO, {}),
    "video: Swin3D": ("swin3d_t", VIDEO, {}),
}


def from_torchvision(subject: Subject) -> Made:
    """The network at the smallest input that it takes, if more than a pixel is to be left of it."""
    name, shape, settings = TORCHVISION[subject.family]
    model = import_module("torchvision.models").get_model(name, weights=None, **settings)
    return model.eval(), torch.randn(2, *shape)


# timm

SHALLOW: dict[str, dict[str, Any]] = {  # families without a small network, made small
    "beit": {"depth": 2},
    "deepseek_vit": {"depth": 2},
    "gemma4_vit": {"depth": 2},
    "naflexvit": {"depth": 2},
    "qwen3_vit": {"depth": 2},
    "vision_transformer_sam": {"depth": 3},  # the third block is the first with global attention
}


def smallest(file: Path) -> dict[str, str]:
    """The network with the fewest parameters of each family: a module of timm. Kept in the file."""
    if file.exists():
        kept: dict[str, str] = json.loads(file.read_text())
        return kept
    timm = import_module("timm")
    families: dict[str, list[str]] = {}
    for name in timm.list_models():
        if not name.startswith("test_"):  # those are not for use
            families.setdefault(timm.model_entrypoint(name).__module__.rsplit(".", 1)[-1], []).append(name)
    found = {family: _smallest(timm, names) for family, names in sorted(families.items())}
    file.write_text(json.dumps(found, indent=1))
    return found


def _smallest(timm: Any, names: list[str]) -> str:
    """Counted without weights, as far as the time goes."""
    start, counts = time.perf_counter(), {names[0]: float("inf")}
    for name in names:
        if time.perf_counter() - start > CHOICE_SECONDS:
            break
        try:
            with torch.device("meta"):
                counts[name] = sum(p.numel() for p in timm.create_model(name).parameters())
        except Exception:  # it computes with its weights when it is made
            continue
    return min(counts, key=lambda name: counts[name])


def from_timm(subject: Subject) -> Made:
    """The network at the first of the sizes that it takes, else at its own."""
    timm = import_module("timm")
    settings = SHALLOW.get(subject.family, {})
    for size in SIZES:
        for more in ({"img_size": size}, {}):
            x = torch.randn(2, 3, size, size)
            try:
                model = timm.create_model(subject.name, **settings, **more).eval()
                forward(model, x)
            except Exception:  # too small, not divisible, or fixed
                continue
            return model, x
    model = timm.create_model(subject.name, **settings).eval()
    return model, torch.randn(2, *timm.data.resolve_model_data_config(model)["input_size"])


# transformers

TEXT: dict[str, Any] = {
    "vocab_size": 100,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
DECODER = {**TEXT, "num_key_value_heads": 2, "use_cache": False}
VISION: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "image_size": 32,
    "patch_size": 8,
}
STAGES = {"hidden_sizes": [16, 32], "depths": [1, 1], "num_stages": 2}
SPEECH: dict[str, Any] = {
    "vocab_size": 20,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "conv_dim": (32, 32),
    "conv_kernel": (10, 3),
    "conv_stride": (5, 2),
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
IMAGE, WAVE = (3, 32, 32), (800,)


@dataclass(frozen=True)
class Recipe:
    """A network of transformers: its class, the settings of its configuration, the shape of an example; () for text."""

    model: str
    settings: dict[str, Any] = field(default_factory=dict)
    shape: tuple[int, ...] = ()


def text(model: str, **more: Any) -> Recipe:
    """An encoder of text."""
    return Recipe(model, {**TEXT, **more})


def decoder(model: str, **more: Any) -> Recipe:
    """A language model."""
    return Recipe(model, {**DECODER, **more})


def vision(model: str, **more: Any) -> Recipe:
    """An encoder of images by patches."""
    return Recipe(model, {**VISION, **more}, IMAGE)


def speech(model: str, **more: Any) -> Recipe:
    """An encoder of sound."""
    return Recipe(model, {**SPEECH, **more}, WAVE)


def other(model: str, shape: tuple[int, ...], **settings: Any) -> Recipe:
    """Whatever has settings of its own."""
    return Recipe(model, settings, shape)


TRANSFORMERS: dict[str, Recipe] = {
    # encoders of text
    "BERT": text("BertForSequenceClassification"),
    "RoBERTa": text("RobertaForSequenceClassification"),
    "XLM-RoBERTa": text("XLMRobertaForSequenceClassification"),
    "DistilBERT": text("DistilBertForSequenceClassification", hidden_dim=64),
    "ALBERT": text("AlbertForSequenceClassification", embedding_size=16),
    "DeBERTa": text("DebertaForSequenceClassification", relative_attention=True, pos_att_type=["c2p", "p2c"]),
    "DeBERTa v2": text("DebertaV2ForSequenceClassification", relative_attention=True, pos_att_type=["c2p", "p2c"]),
    "ELECTRA": text("ElectraForSequenceClassification", embedding_size=16),
    "MPNet": text("MPNetForSequenceClassification"),
    "ModernBERT": text("ModernBertForSequenceClassification", local_attention=8, cls_token_id=1, sep_token_id=2),
    "MobileBERT": text("MobileBertForSequenceClassification", embedding_size=16, intra_bottleneck_size=16),
    "SqueezeBERT": text("SqueezeBertForSequenceClassification", embedding_size=32),
    "ConvBERT": text("ConvBertForSequenceClassification", embedding_size=16),
    "RoFormer": text("RoFormerForSequenceClassification", embedding_size=16),
    "Nystromformer": text("NystromformerForSequenceClassification", num_landmarks=LENGTH, segment_means_seq_len=LENGTH),
    "CamemBERT": text("CamembertForSequenceClassification"),
    "ERNIE": text("ErnieForSequenceClassification"),
    "ESM": text("EsmForSequenceClassification", mask_token_id=3),
    "FNet": text("FNetForSequenceClassification"),
    "BigBird": text("BigBirdForSequenceClassification", attention_type="original_full"),
    "Longformer": text("LongformerForSequenceClassification", attention_window=[4, 4]),
    "Funnel": other(
        "FunnelForSequenceClassification",
        (),
        vocab_size=100,
        block_sizes=[1, 1],
        d_model=32,
        n_head=4,
        d_head=8,
        d_inner=64,
    ),
    "XLNet": other(
        "XLNetForSequenceClassification",
        (),
        vocab_size=100,
        d_model=32,
        n_head=4,
        d_inner=64,
        n_layer=2,
        pad_token_id=0,
    ),
    "T5": text("T5EncoderModel", d_kv=8, d_ff=64, d_model=32, num_layers=2, num_heads=4),
    "CLIP, text": text("CLIPTextModel"),
    # language models
    "GPT-2": decoder("GPT2LMHeadModel"),
    "GPT-Neo": decoder("GPTNeoForCausalLM", attention_types=[[["global", "local"], 1]], num_layers=2, num_heads=4),
    "GPT-NeoX": decoder("GPTNeoXForCausalLM"),
    "GPT-J": decoder("GPTJForCausalLM", rotary_dim=4),
    "GPT-BigCode": decoder("GPTBigCodeForCausalLM"),
    "OPT": decoder("OPTForCausalLM", ffn_dim=64, word_embed_proj_dim=32),
    "BLOOM": decoder("BloomForCausalLM", n_layer=2, n_head=4),
    "Falcon": decoder("FalconForCausalLM"),
    "MPT": decoder("MptForCausalLM", d_model=32, n_heads=4, n_layers=2, max_seq_len=64),
    "Llama": decoder("LlamaForCausalLM"),
    "Mistral": decoder("MistralForCausalLM", sliding_window=LENGTH - 2),
    "Mixtral": decoder("MixtralForCausalLM", num_local_experts=4),
    "Qwen2": decoder("Qwen2ForCausalLM"),
    "Qwen3": decoder("Qwen3ForCausalLM", head_dim=8),
    "Gemma": decoder("GemmaForCausalLM", head_dim=8),
    "Gemma 2": decoder("Gemma2ForCausalLM", head_dim=8, sliding_window=LENGTH - 2),
    "Gemma 3": decoder("Gemma3ForCausalLM", head_dim=8, sliding_window=LENGTH - 2),
    "Phi": decoder("PhiForCausalLM"),
    "Phi-3": decoder("Phi3ForCausalLM"),
    "OLMo 2": decoder("Olmo2ForCausalLM"),
    "StableLM": decoder("StableLmForCausalLM"),
    "Starcoder2": decoder("Starcoder2ForCausalLM"),
    "Cohere": decoder("CohereForCausalLM"),
    "SmolLM3": decoder("SmolLM3ForCausalLM"),
    "Mamba": decoder("MambaForCausalLM", state_size=4),
    "RWKV": decoder("RwkvForCausalLM", attention_hidden_size=32),
    # images
    "ViT": vision("ViTForImageClassification"),
    "DeiT": vision("DeiTForImageClassification"),
    "BEiT": vision("BeitForImageClassification"),
    "Data2Vec, vision": vision("Data2VecVisionForImageClassification"),
    "DINOv2": vision("Dinov2ForImageClassification", mlp_ratio=2),
    "DINOv2 with registers": vision("Dinov2WithRegistersForImageClassification", mlp_ratio=2),
    "DINOv3": vision("DINOv3ViTModel"),
    "ViT-MSN": vision("ViTMSNForImageClassification"),
    "I-JEPA": vision("IJepaForImageClassification"),
    "CLIP, vision": vision("CLIPVisionModel"),
    "SigLIP, vision": vision("SiglipVisionModel"),
    "Swin": other(
        "SwinForImageClassification",
        IMAGE,
        image_size=32,
        patch_size=4,
        embed_dim=16,
        depths=[1, 1],
        num_heads=[2, 4],
        window_size=4,
    ),
    "Swin v2": other(
        "Swinv2ForImageClassification",
        IMAGE,
        image_size=32,
        patch_size=4,
        embed_dim=16,
        depths=[1, 1],
        num_heads=[2, 4],
        window_size=4,
    ),
    "ConvNeXt": other("ConvNextForImageClassification", IMAGE, **STAGES),
    "ConvNeXt v2": other("ConvNextV2ForImageClassification", IMAGE, **STAGES),
    "SegFormer": other(
        "SegformerForImageClassification",
        IMAGE,
        num_encoder_blocks=2,
        depths=[1, 1],
        sr_ratios=[2, 1],
        hidden_sizes=[16, 32],
        patch_sizes=[7, 3],
        strides=[4, 2],
        num_attention_heads=[2, 4],
        mlp_ratios=[2, 2],
    ),
    "PVT": other(
        "PvtForImageClassification",
        IMAGE,
        image_size=32,
        num_encoder_blocks=2,
        depths=[1, 1],
        sequence_reduction_ratios=[2, 1],
        hidden_sizes=[16, 32],
        patch_sizes=[4, 2],
        strides=[4, 2],
        num_attention_heads=[2, 4],
        mlp_ratios=[2, 2],
    ),
    "MobileViT": other(
        "MobileViTForImageClassification",
        (3, 64, 64),
        image_size=64,
        hidden_sizes=[16, 24, 32],
        neck_hidden_sizes=[8, 8, 16, 16, 24, 24, 64],
    ),
    "MobileViT v2": other("MobileViTV2ForImageClassification", (3, 64, 64), image_size=64, width_multiplier=0.25),
    "CvT": other("CvtForImageClassification", IMAGE, embed_dim=[16, 16, 32], num_heads=[1, 2, 4], depth=[1, 2, 3]),
    "LeViT": other(
        "LevitForImageClassification",
        (3, 64, 64),
        image_size=64,
        hidden_sizes=[16, 32, 48],
        num_attention_heads=[2, 2, 4],
        depths=[1, 1, 1],
        key_dim=[8, 8, 8],
    ),
    "PoolFormer": other("PoolFormerForImageClassification", IMAGE, hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1]),
    "FocalNet": other(
        "FocalNetForImageClassification",
        IMAGE,
        image_size=32,
        embed_dim=16,
        depths=[1, 1],
        hidden_sizes=[16, 32],
        focal_levels=[2, 2],
        focal_windows=[3, 3],
    ),
    "ResNet": other("ResNetForImageClassification", IMAGE, embedding_size=16, **STAGES),
    "RegNet": other("RegNetForImageClassification", IMAGE, embedding_size=16, groups_width=8, **STAGES),
    "EfficientNet": other(
        "EfficientNetForImageClassification",
        (3, 64, 64),
        image_size=64,
        width_coefficient=0.25,
        depth_coefficient=0.25,
        hidden_dim=320,
    ),
    "MobileNetV2": other("MobileNetV2ForImageClassification", (3, 64, 64), image_size=64, depth_multiplier=0.25),
    "VideoMAE": other("VideoMAEForVideoClassification", (4, 3, 32, 32), num_frames=4, **VISION),
    # sound, and series of numbers
    "Wav2Vec2": speech("Wav2Vec2ForSequenceClassification"),
    "HuBERT": speech("HubertForSequenceClassification"),
    "WavLM": speech("WavLMForSequenceClassification"),
    "Whisper, encoder": other(
        "WhisperForAudioClassification",
        (8, 40),
        num_mel_bins=8,
        d_model=32,
        encoder_layers=2,
        encoder_attention_heads=4,
        encoder_ffn_dim=64,
        max_source_positions=20,
    ),
    "AST": other(
        "ASTForAudioClassification",
        (32, 16),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        patch_size=8,
        max_length=32,
        num_mel_bins=16,
    ),
    "PatchTST": other(
        "PatchTSTForPrediction",
        (32, 3),
        num_input_channels=3,
        context_length=32,
        patch_length=8,
        patch_stride=8,
        d_model=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        ffn_dim=64,
        prediction_length=4,
    ),
    "PatchTSMixer": other(
        "PatchTSMixerForPrediction",
        (32, 3),
        num_input_channels=3,
        context_length=32,
        patch_length=8,
        patch_stride=8,
        d_model=16,
        num_layers=2,
        prediction_length=4,
    ),
    "Perceiver": other(
        "PerceiverForImageClassificationConvProcessing",
        (3, 64, 64),
        image_size=64,
        num_latents=8,
        d_latents=32,
        num_blocks=1,
        num_self_attends_per_block=2,
        num_self_attention_heads=4,
        num_cross_attention_heads=1,
    ),
}


def from_transformers(subject: Subject) -> Made:
    """The network, small by its configuration."""
    recipe = TRANSFORMERS[subject.family]
    kind = getattr(import_module("transformers"), recipe.model)
    model = kind(kind.config_class(**{"initializer_range": 0.2, **recipe.settings})).eval()  # 0.02 is for wide ones
    return model, torch.randn(2, *recipe.shape) if recipe.shape else _tokens()


def _tokens() -> dict[str, Tensor]:
    """Ids and mask of two texts, the second one padded."""
    ids = torch.randint(5, 100, (2, LENGTH))
    mask = torch.ones_like(ids)
    ids[1, TOKENS:], mask[1, TOKENS:] = 0, 0
    return {"input_ids": ids, "attention_mask": mask}
