"""Small networks of transformers, one of every family, by the settings of their configuration."""

from dataclasses import dataclass, field
from typing import Any

__all__ = ["LENGTH", "TRANSFORMERS", "Recipe"]

LENGTH = 12
"""Tokens of a text."""

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
