"""A transformer's copy that computes in 16 bits. On CPU most of an embedding's time is matrix products, so they get the most of it."""

import platform
from copy import deepcopy
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

SHORT_TOKENS = 512
"""Up to this many tokens attention as plain matrix products is faster on CPU than PyTorch's fused kernel (measured on a
Zen 4 at 16 to 256 tokens: 3.2 against 5.3 ms per 1,000 tokens and layer at 128); beyond, its scores take too much memory."""


def half_precision_copy(module: "torch.nn.Module", precision: str, tokens: int) -> "torch.nn.Module":
    """Copy a sentence-transformers Transformer module with its weights in bf16 or fp16, for sequences of up to `tokens`.

    Weights are cast once, where autocast casts them in every call. Buffers stay in float32: rotary angles do not survive 8
    bits of mantissa.
    """
    import torch

    copied = deepcopy(module).eval()
    for parameter in copied.parameters():
        if parameter.is_floating_point():
            parameter.data = parameter.data.to({"bf16": torch.bfloat16, "fp16": torch.float16}[precision])
    model = copied.auto_model
    if model.device.type == "cpu" and precision == "bf16":
        if tokens <= SHORT_TOKENS and hasattr(model, "set_attn_implementation"):
            model.set_attn_implementation("eager")
        _pack_weights(model)
    return copied


def _pack_weights(model: "torch.nn.Module") -> None:
    """Lay out the weights of linear layers for oneDNN once, instead of in every call (5 % of an embedding's time).

    The operators are those PyTorch's own compiler uses. A layer's weight stays where other code looks for it.
    """
    import torch
    from transformers.pytorch_utils import Conv1D

    operators = torch.ops.mkldnn
    x86 = platform.machine() in ("x86_64", "AMD64") and torch.backends.mkldnn.is_available()
    if not (x86 and hasattr(operators, "_linear_pointwise") and operators._is_mkldnn_bf16_supported()):
        return
    for layer in model.modules():
        if type(layer) is torch.nn.Linear:
            weight = layer.weight
        elif type(layer) is Conv1D:  # GPT-2's linear layer, its weight the other way round
            weight = layer.weight.t()
        else:
            continue
        packed = operators._reorder_linear_weight(weight.detach().contiguous())
        layer.forward = partial(_packed_linear, packed, layer.bias)


def _packed_linear(weight: "torch.Tensor", bias: "torch.Tensor | None", inputs: "torch.Tensor") -> "torch.Tensor":
    import torch

    return torch.ops.mkldnn._linear_pointwise(inputs, weight, bias, "none", [], "")
