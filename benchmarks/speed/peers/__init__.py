"""Other implementations as peers in the same run.

torchvision runs in this process. Detectron2 and MMDetection cannot be dependencies: each runs in an environment of the
user's, through a worker script that only needs that environment, and a contract of JSON lines (`external`).
"""
