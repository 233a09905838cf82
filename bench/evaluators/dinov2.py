"""DINOv2 by transformers: 8-bit RGB images as the class token of its last layer.

Images go through Pillow's bicubic interpolation to 224 x 224 pixels, whatever their shape, and the mean and deviation
of ImageNet, as in Stein et al.'s own program (dgm-eval), so that Fréchet distances compare with theirs.

References: Oquab et al., arXiv:2304.07193; Stein et al., arXiv:2306.04675, section 3.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from .hub_models import Weights, loaded_model, weights_of

PREPROCESSING = "Pillow's bicubic interpolation to 224 x 224, mean and deviation of ImageNet"
_SIDE = 224
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class DinoV2Features(nn.Module):
    """Turns uint8 (n, 3, H, W) into a tuple of one tensor, the class tokens (n, d) after the last normalisation."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, rgb: Tensor) -> tuple[Tensor]:
        device = next(self.model.parameters()).device
        return (self.model(pixel_values=pixel_values(rgb).to(device)).pooler_output,)


def pixel_values(rgb: Tensor) -> Tensor:
    """uint8 (n, 3, H, W) as the model takes it: float32 (n, 3, 224, 224) on the CPU."""
    rows = rgb.cpu().permute(0, 2, 3, 1).numpy()
    resized = [np.asarray(Image.fromarray(row).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)) for row in rows]
    values = torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).float() / 255
    mean, deviation = (torch.tensor(each).reshape(3, 1, 1) for each in (_MEAN, _DEVIATION))
    return (values - mean) / deviation


def load_dinov2(source: str | Path) -> tuple[DinoV2Features, Weights]:
    """The model in a folder that transformers has saved, or of a name on the hub such as "facebook/dinov2-large".

    Raises UsageError, with one line, where it cannot be had.
    """
    model = loaded_model("DINOv2", source, lambda library: library.AutoModel)
    return DinoV2Features(model.to(torch.float32)), weights_of(source)
