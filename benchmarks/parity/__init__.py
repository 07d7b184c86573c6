"""Recorded results of MMDetection 2.28.2 and 3.3.0, compared with what this machine computes: no weights, no network.

Each record fixes every weight by a formula of its name and shape (`formula`), fixes the input image, and holds the
state dict's names and shapes, samples of intermediate outputs and the final detections of the reference (`reference`).
`compare` says how far a network is from them, `run` does it for one architecture on a device with options.
"""
