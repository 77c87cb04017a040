"""Networks of torchvision, timm and transformers for the zoo, where they can be imported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

Made = tuple[nn.Module, Any]
EXTERNAL: dict[str, Callable[[], Made]] = {}
IMAGE = (2, 3, 64, 64)


@torch.no_grad()
def awake(module: nn.Module) -> nn.Module:
    """Give weights that start as zeros small values, so that outputs depend on everything."""
    for parameter in module.parameters():
        if not parameter.any():
            parameter.normal_(std=0.02)
    return module


def _torchvision() -> None:
    library = torch.library.Library("torchvision", "DEF")  # without its compiled operations
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    globals()["_library"] = library  # it must stay alive
    from torchvision import models

    for name in (
        "resnet18", "resnet50", "vgg11_bn", "alexnet", "squeezenet1_1", "mobilenet_v2",
        "mobilenet_v3_small", "shufflenet_v2_x0_5", "densenet121", "efficientnet_b0",
        "regnet_y_400mf", "mnasnet0_5", "convnext_tiny", "vit_b_32", "swin_t", "googlenet",
    ):  # fmt: skip
        size = (2, 3, 224, 224) if name in ("vit_b_32", "alexnet") else IMAGE

        def make(name: str = name, size: tuple[int, ...] = size) -> Made:
            options: dict[str, Any] = {"weights": None}
            if name == "googlenet":
                options |= {"aux_logits": False, "init_weights": True}
            return awake(getattr(models, name)(**options)), torch.randn(size)

        EXTERNAL[f"torchvision {name}"] = make


def _timm() -> None:
    import timm

    for name, options in {
        "vit_tiny_patch16_224": {"img_size": 64},
        "deit_tiny_patch16_224": {"img_size": 64},
        "mixer_s32_224": {},
        "resnext26ts": {},
        "ghostnet_050": {},
        "mobilevit_xxs": {},
        "poolformer_s12": {},
        "levit_128s": {},
        "repvgg_a0": {},
    }.items():

        def make(name: str = name, options: dict[str, Any] = options) -> Made:
            size = options.get("img_size", 224 if name in ("mixer_s32_224", "levit_128s") else 64)
            return awake(timm.create_model(name, **options)), torch.randn(2, 3, size, size)

        EXTERNAL[f"timm {name}"] = make


def _transformers() -> None:
    import transformers as t

    small = {"vocab_size": 50, "num_hidden_layers": 2, "hidden_size": 32, "intermediate_size": 48}

    def text(model: Any, config: Any) -> Callable[[], Made]:
        def make() -> Made:
            ids = torch.randint(0, 50, (2, 7))
            module = model(config())
            module.config.update({"use_cache": False, "return_dict": True})
            return module, {"input_ids": ids}

        return make

    heads = {"num_attention_heads": 4}
    EXTERNAL["transformers bert"] = text(
        t.BertForSequenceClassification, lambda: t.BertConfig(**small, **heads)
    )
    EXTERNAL["transformers gpt2"] = text(
        t.GPT2LMHeadModel, lambda: t.GPT2Config(vocab_size=50, n_embd=32, n_layer=2, n_head=4)
    )
    EXTERNAL["transformers llama"] = text(
        t.LlamaForCausalLM, lambda: t.LlamaConfig(**small, **heads, num_key_value_heads=2)
    )
    EXTERNAL["transformers mistral"] = text(
        t.MistralForCausalLM, lambda: t.MistralConfig(**small, **heads, num_key_value_heads=2)
    )
    EXTERNAL["transformers qwen2"] = text(
        t.Qwen2ForCausalLM, lambda: t.Qwen2Config(**small, **heads, num_key_value_heads=2)
    )
    EXTERNAL["transformers distilbert"] = text(
        t.DistilBertForSequenceClassification,
        lambda: t.DistilBertConfig(vocab_size=50, dim=32, n_layers=2, n_heads=4, hidden_dim=48),
    )


for _add in (_torchvision, _timm, _transformers):
    try:
        _add()
    except Exception as _error:  # a library that is absent or does not fit this torch
        print(f"without {_add.__name__[1:]}: {type(_error).__name__}: {str(_error)[:100]}")
