"""Run by torchrun in test_distributed.py: `two_processes.py DATA OUT`: train, save, resume; write what happened."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

from zoo.manifest import api
from zoo.training import distributed, recipe
from zoo.training.checkpointing import save_state
from zoo.training.config import TrainConfig
from zoo.training.layout import find
from zoo.training.setup import make_trainer


def main(data: str, out: str) -> None:
    place = distributed.join()
    own = recipe.default(api.architecture("demo_mask_rcnn"), api.get("demo_mask_rcnn").training)
    settings = replace(own, epochs=1, warmup=0, learning_rate=0.01, batch=4)
    plan = TrainConfig("demo_mask_rcnn", *find(Path(data)), Path(out), "scratch", settings, batch_size=1, accumulate=2)
    run = make_trainer(plan, place)
    losses = []
    for step in run.steps():
        losses.append(step.losses["loss"])
        if step.iteration == 1:
            save_state(run)
    again = make_trainer(replace(plan, resume=True), place)
    resumed = [step.losses["loss"] for step in again.steps()]
    weights = float(sum(p.double().abs().sum() for p in run.network.parameters()))
    result = distributed.gathered({"losses": losses, "resumed": resumed, "weights": weights}, place)
    if place.first:
        (Path(out) / "found.json").write_text(json.dumps(result))
    distributed.leave()


if __name__ == "__main__":
    main(*sys.argv[1:])
