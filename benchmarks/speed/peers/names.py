"""The names of what our networks are compared with."""

from __future__ import annotations

RUNTIMES = ("onnxruntime", "openvino")
"""What runs our own network as an exported file."""

PEERS = ("torchvision", "transformers", *RUNTIMES, "detectron2", "mmdet")
