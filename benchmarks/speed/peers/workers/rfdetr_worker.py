"""RF-DETR by its own code, for `bench accuracy rfdetr:RFDETRNano`; the contract is in `serve.py`.

config: a class of the package, with a weights file behind a colon where the published ones are not meant:
`RFDETRNano:my.pth`. Its `predict` resizes and normalizes inside the call that is timed.
"""

import sys
from contextlib import redirect_stdout

from PIL import Image
from serve import require, serve

with redirect_stdout(sys.stderr):
    import rfdetr

SETTINGS = {"threshold": 0.0, "timed": "with resizing and normalization"}


class Detector:
    """`load` decodes, `compute` is everything else."""

    implementation, module = "rfdetr", rfdetr

    def __init__(self, request):
        name, _, weights = request["config"].partition(":")
        if not hasattr(rfdetr, name):
            raise ValueError("rfdetr has no class " + name)
        options = {"pretrain_weights": weights} if weights else {}
        self.detector = getattr(rfdetr, name)(device=request["device"].partition(":")[0], **options)
        self.model = self.detector.model.model
        names = self.detector.class_names
        self.names = dict(names) if isinstance(names, dict) else dict(enumerate(names))
        self.positions = {key: position for position, key in enumerate(sorted(self.names))}

    def load(self, path):
        """The decoded image."""
        image = Image.open(path).convert("RGB")
        return image, (image.height, image.width)

    def compute(self, image):
        """Their detections."""
        return self.detector.predict(image, threshold=0.0)

    def rows(self, result):
        """Boxes, scores and labels as lists; what has no name is left out."""
        rows = zip(result.xyxy.tolist(), result.confidence.tolist(), result.class_id.tolist())
        known = [(box, score, self.positions[label]) for box, score, label in rows if label in self.positions]
        return tuple([row[part] for row in known] for part in range(3))

    def classes(self):
        """Names of the labels."""
        return [self.names[key] for key in sorted(self.names)]

    def settings(self):
        """What decides how many detections there are."""
        return SETTINGS


if __name__ == "__main__":
    require("rfdetr", rfdetr, "1.")
    serve(Detector)
