"""Random weights with which a detector detects something, for comparisons without published weights.

Freshly initialized networks do not: activations grow or vanish, and all scores are those of the biases. So every
convolution and linear layer is scaled once, in the order in which the layers run, until its outputs on a generated
image have unit variance (Mishkin and Matas, All you need is a good init, 2016); predictors get variances that make some
scores pass the threshold and leave boxes near their priors.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.speed.generated import proposals
from benchmarks.speed.images import generated

# Standard deviation of a layer's outputs, by its name; 1 for all others.
DEVIATIONS = {
    r".*(rpn_reg|retina_reg|conv_reg|reg_convs\.\d+\.\d+|multi_level_conv_reg\.\d+|conv_offset)": 0.2,
    r".*fc_reg(\.layers\.2)?": 0.2,
    r".*fc_cls": 2.0,
    r".*score_lowres": 4.0,
}
SIDE = 320  # of the part of the image that it takes
LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


def randomize(model: Any, seed: int = 0) -> None:
    """Fill a detector of the zoo, the same at every call. model: has `preprocess` and `predict`, on the CPU."""
    torch.manual_seed(seed)
    layers = {name: module for name, module in model.named_modules() if scalable(module)}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            fill(name, parameter)
        hooks = [module.register_forward_hook(scaling(deviation(name))) for name, module in layers.items()]
        try:
            image = model.preprocess(generated(1)[0]).image[:, :SIDE, :SIDE]
            model(image[None], proposals=regions(model, image))
        finally:
            for hook in hooks:
                hook.remove()


def regions(model: Any, image: Tensor) -> list[Tensor] | None:
    """Boxes (M, 4) anywhere in an image (3, H, W), for a network that needs another's."""
    if not getattr(model, "needs_proposals", False):
        return None
    nothing = np.zeros((0, 4), np.float32)
    return [torch.from_numpy(proposals(nothing, (image.shape[1], image.shape[2]), 0))]


def scalable(module: nn.Module) -> bool:
    """Whether a module is a layer with weights of its own."""
    return isinstance(module, LAYERS) or (hasattr(module, "conv_offset") and hasattr(module, "weight"))


def fill(name: str, parameter: Tensor) -> None:
    """Normal weights, normalization that changes nothing, and no biases."""
    if name.endswith("init_proposal_bboxes.weight"):  # center and size as parts of the image
        nn.init.uniform_(parameter, 0.2, 0.8)
    elif parameter.ndim > 1:
        nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    else:
        parameter.fill_(1.0 if name.endswith(("weight", "scale")) else 0.0)


def deviation(name: str) -> float:
    """The standard deviation that a layer's outputs should have."""
    return next((value for pattern, value in DEVIATIONS.items() if re.fullmatch(pattern, name)), 1.0)


def scaling(wanted: float) -> Any:
    """A forward hook that scales its layer's weights at the first call, and then does nothing more."""
    done = False

    def hook(module: Any, inputs: Any, output: Tensor) -> Tensor | None:
        nonlocal done
        spread = float(output.std()) if output.numel() > 1 else 0.0
        if done or not spread > 0:
            return None
        done = True
        module.weight.mul_(wanted / spread)
        return output * (wanted / spread)

    return hook
