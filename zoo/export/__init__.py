"""Networks as ONNX graphs and torch.export programs."""
