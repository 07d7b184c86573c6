"""Detectors of Hugging Face's transformers, for `bench accuracy transformers:FOLDER`; the contract is in `serve.py`.

config: a folder or a name that `AutoModelForObjectDetection.from_pretrained` takes, such as `zoo convert --to
transformers` writes; images are resized and normalized by its image processor, or by that of its kind where it has
none. MaskFormer and Mask2Former, whose results are masks, are refused: the contract has boxes.
"""

import os

import transformers
from PIL import Image
from serve import require, serve

# Kind of network -> the image processor of its authors, which also scores its queries: by softmax, or by sigmoid.
PROCESSORS = {
    "DetrForObjectDetection": "DetrImageProcessor",
    "DeformableDetrForObjectDetection": "DeformableDetrImageProcessor",
    "ConditionalDetrForObjectDetection": "ConditionalDetrImageProcessor",
    "DabDetrForObjectDetection": "ConditionalDetrImageProcessor",
}


def processor_of(model, config):
    """Its own image processor, or that of its kind. ValueError where neither is known."""
    if not os.path.isdir(config) or os.path.exists(os.path.join(config, "preprocessor_config.json")):
        return transformers.AutoImageProcessor.from_pretrained(config)
    kind = type(model).__name__
    if kind not in PROCESSORS:
        raise ValueError(config + " has no preprocessor_config.json, and what " + kind + " needs is not known")
    return getattr(transformers, PROCESSORS[kind])()


def network(config):
    """The network. ValueError for a folder of a network that gives no boxes."""
    described = transformers.AutoConfig.from_pretrained(config)
    if described.model_type in ("maskformer", "mask2former"):
        raise ValueError(
            config + " is a " + described.model_type + ", whose results are masks; this worker gives boxes"
        )
    return transformers.AutoModelForObjectDetection.from_pretrained(config)


class Detector:
    """`load` reads and preprocesses, `compute` is the network and what follows it."""

    implementation, module = "transformers", transformers

    def __init__(self, request):
        config = request["config"]
        self.model = network(config).to(request["device"]).eval()
        self.device = request["device"]
        names = self.model.config.id2label
        self.places = {key: place for place, key in enumerate(key for key in sorted(names) if names[key] != "N/A")}
        self.processor = processor_of(self.model, config)

    def load(self, path):
        """The network's input, and the image's size."""
        image = Image.open(path).convert("RGB")
        inputs = self.processor(images=image, return_tensors="pt")
        return (inputs, (image.height, image.width)), inputs["pixel_values"].shape[2:]

    def compute(self, loaded):
        """Their detections on the CPU."""
        inputs, size = loaded
        outputs = self.model(**{name: value.to(self.device) for name, value in inputs.items()})
        result = self.processor.post_process_object_detection(outputs, threshold=0.0, target_sizes=[size])[0]
        return {name: value.cpu() for name, value in result.items()}

    def rows(self, result):
        """Boxes, scores and labels as lists, best first; numbers without a class are left out."""
        order = result["scores"].argsort(descending=True)
        rows = zip(*(result[name][order].tolist() for name in ("boxes", "scores", "labels")))
        known = [(box, score, self.places[label]) for box, score, label in rows if label in self.places]
        return tuple([row[part] for row in known] for part in range(3))

    def classes(self):
        """Names of the labels."""
        return [self.model.config.id2label[key] for key in self.places]


if __name__ == "__main__":
    require("transformers", transformers, "")
    serve(Detector)
