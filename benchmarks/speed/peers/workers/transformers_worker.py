"""Detectors of Hugging Face's transformers, for `bench accuracy transformers:FOLDER`; the contract is in `serve.py`.

config: a folder or a name that `from_pretrained` takes, such as `zoo convert --to transformers` writes; images are
resized and normalized by its image processor, or by that of its kind where it has none. Detections and instances are
those of the image processor's own post-processing: Mask2Former's makes its masks at 384 x 384, whatever the image.
"""

import os

import torch
import transformers
from PIL import Image
from serve import require, run_lengths, serve

# Kind of network -> the image processor of its authors, which also scores its queries: by softmax, or by sigmoid.
PROCESSORS = {
    "DetrForObjectDetection": "DetrImageProcessor",
    "DeformableDetrForObjectDetection": "DeformableDetrImageProcessor",
    "ConditionalDetrForObjectDetection": "ConditionalDetrImageProcessor",
    "DabDetrForObjectDetection": "ConditionalDetrImageProcessor",
    "MaskFormerForInstanceSegmentation": "MaskFormerImageProcessor",
    "Mask2FormerForUniversalSegmentation": "Mask2FormerImageProcessor",
}
OF_MASKS = ("maskformer", "mask2former")
# What a file need not have: weights of losses, and counters of batch norm.
UNUSED = ("criterion.", "num_batches_tracked")


def processor_of(model, config):
    """Its own image processor, or that of its kind. ValueError where neither is known."""
    if not os.path.isdir(config) or os.path.exists(os.path.join(config, "preprocessor_config.json")):
        return transformers.AutoImageProcessor.from_pretrained(config)
    kind = type(model).__name__
    if kind not in PROCESSORS:
        raise ValueError(config + " has no preprocessor_config.json, and what " + kind + " needs is not known")
    return getattr(transformers, PROCESSORS[kind])()


def network(config):
    """The network. ValueError for a file that lacks some of its weights."""
    kind = transformers.AutoConfig.from_pretrained(config).model_type
    auto = getattr(transformers, "AutoModelFor" + ("UniversalSegmentation" if kind in OF_MASKS else "ObjectDetection"))
    model, report = auto.from_pretrained(config, output_loading_info=True)
    missing = sorted(name for name in report["missing_keys"] if not any(word in name for word in UNUSED))
    if missing:
        raise ValueError(config + " has no " + missing[0] + "; it would be random in " + type(model).__name__)
    return model


class Detector:
    """`load` reads and preprocesses, `compute` is the network and what follows it."""

    implementation, module = "transformers", transformers

    def __init__(self, request):
        config = request["config"]
        self.model = network(config).to(request["device"]).eval()
        self.device = request["device"]
        self.gives_masks = self.model.config.model_type in OF_MASKS
        names = self.model.config.id2label
        self.positions = {
            key: position for position, key in enumerate(key for key in sorted(names) if names[key] != "N/A")
        }
        self.processor = processor_of(self.model, config)

    def load(self, path):
        """The network's input, and the image's size."""
        image = Image.open(path).convert("RGB")
        inputs = self.processor(images=image, return_tensors="pt")
        return (inputs, (image.height, image.width)), inputs["pixel_values"].shape[2:]

    def compute(self, loaded):
        """Their detections on the CPU, with labels that have a class, best first; `masks` (K, H, W) bool or None."""
        inputs, size = loaded
        outputs = self.model(**{name: value.to(self.device) for name, value in inputs.items()})
        if self.gives_masks:
            result = self.instances(outputs, size)
        else:
            found = self.processor.post_process_object_detection(outputs, threshold=0.0, target_sizes=[size])[0]
            result = {name: value.cpu() for name, value in found.items()}
        order = result["scores"].argsort(descending=True)
        order = order[[label in self.positions for label in result["labels"][order].tolist()]]
        return {name: value[order] for name, value in result.items()}

    def instances(self, outputs, size):
        """Their instances, with the boxes around the masks."""
        made = self.processor.post_process_instance_segmentation(
            outputs, threshold=0.0, target_sizes=[size], return_binary_maps=True
        )[0]
        found = made["segments_info"]
        masks = made["segmentation"].cpu().bool() if found else torch.zeros(0, *size, dtype=torch.bool)
        return {
            "boxes": boxes_around(masks),
            "scores": torch.tensor([one["score"] for one in found], dtype=torch.float32),
            "labels": torch.tensor([one["label_id"] for one in found], dtype=torch.long),
            "masks": masks,
        }

    def rows(self, result):
        """Boxes, scores and labels as lists, best first."""
        labels = [self.positions[label] for label in result["labels"].tolist()]
        return result["boxes"].tolist(), result["scores"].tolist(), labels

    def masks(self, result):
        """The masks as run lengths."""
        return [run_lengths(mask) for mask in result["masks"]]

    def classes(self):
        """Names of the labels."""
        return [self.model.config.id2label[key] for key in self.positions]


def boxes_around(masks):
    """Tight boxes (K, 4) xyxy of masks (K, H, W), none of which is empty."""
    height, width = masks.shape[1:]
    columns, rows = masks.any(1).float(), masks.any(2).float()
    last = [width - columns.flip(1).argmax(1), height - rows.flip(1).argmax(1)]
    return torch.stack([columns.argmax(1), rows.argmax(1), *last], 1).float()


if __name__ == "__main__":
    require("transformers", transformers, "")
    serve(Detector)
