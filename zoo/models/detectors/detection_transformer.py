"""DETR and its descendants as MMDetection 3.x arranges them: the transformer belongs to the detector.

The head of 2.x's arrangement (`detectors.detr`) holds the transformer itself. Both compute the same, under other names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zoo.models.build import component
from zoo.models.criteria.table import dense_losses
from zoo.models.detectors.base import Detector
from zoo.models.layers.precision import full_precision
from zoo.models.query_heads.detr_head import SINE
from zoo.models.targets import GroundTruth
from zoo.models.transformer.conditional import ConditionalDecoder
from zoo.models.transformer.dab import DABDecoder, DABEncoder
from zoo.models.transformer.detr_layers import DetrDecoder, DetrEncoder
from zoo.models.transformer.layers import init_transformer
from zoo.models.transformer.padding import padding_at, padding_mask, tokens
from zoo.structures import Detections, ImageGeometry


class DetectionTransformer(Detector):
    """Base: backbone, neck, and a head on the states of `num_queries` queries.

    A subclass makes `encoder` and `decoder` from their descriptions, and implements `outputs`.
    """

    def __init__(
        self,
        backbone: Mapping[str, Any],
        bbox_head: Mapping[str, Any],
        neck: Mapping[str, Any] | None = None,
        positional_encoding: Mapping[str, Any] | None = None,
        num_queries: int = 100,
        train_cfg: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(backbone, neck)
        self.num_queries = num_queries
        self.positional_encoding = component({**SINE, **(positional_encoding or {})})
        self.bbox_head = component(bbox_head, train_cfg=train_cfg, test_cfg=test_cfg)

    def predict(self, images: Tensor, geometries: Sequence[ImageGeometry], *args: Any) -> list[Detections]:
        """Detections in output coordinates."""
        detections = self.bbox_head.predict(full_precision(self.outputs(images, geometries)), geometries)
        return [d.to_output(geometry) for d, geometry in zip(detections, geometries)]

    def outputs(self, images: Tensor, geometries: Sequence[ImageGeometry]) -> tuple[Any, ...]:
        """Class logits (layers, N, Q, classes), boxes (layers, N, Q, 4), and what else the head's losses need."""
        raise NotImplementedError

    def compute_losses(
        self, images: Tensor, geometries: Sequence[ImageGeometry], ground_truths: Sequence[GroundTruth]
    ) -> dict[str, Tensor]:
        """The head's losses."""
        return dense_losses(self.bbox_head, self.outputs(images, geometries), geometries, ground_truths)


class DETR(DetectionTransformer):
    """An encoder and a decoder on the coarsest map (Carion et al., DETR, 2020)."""

    def __init__(
        self, encoder: Mapping[str, Any], decoder: Mapping[str, Any], bbox_head: Mapping[str, Any], **kwargs: Any
    ) -> None:
        super().__init__(bbox_head=bbox_head, **kwargs)
        self.encoder: Any = self.make_encoder(encoder)
        self.decoder: Any = self.make_decoder(decoder)
        self.query_embedding = nn.Embedding(self.num_queries, self.query_channels())
        init_transformer(self.encoder)
        init_transformer(self.decoder)

    def make_encoder(self, settings: Mapping[str, Any]) -> nn.Module:
        """The encoder of a description."""
        return DetrEncoder(**settings)

    def make_decoder(self, settings: Mapping[str, Any]) -> nn.Module:
        """The decoder of a description."""
        return DetrDecoder(**settings)

    def query_channels(self) -> int:
        """How many numbers a query's learned position has."""
        channels: int = self.encoder.embed_dims
        return channels

    def outputs(self, images: Tensor, geometries: Sequence[ImageGeometry]) -> tuple[Any, ...]:
        """Class logits (layers, N, Q, classes) and boxes (layers, N, Q, 4), cxcywh as shares of the image."""
        features = self.features(images)[-1]
        padding = padding_at(padding_mask(images, geometries), features)
        positions, padding = tokens(self.positional_encoding(padding)), padding.flatten(1)
        memory = self.encoder(tokens(features), query_pos=positions, query_padding=padding)
        looked_at = {"memory": memory, "memory_pos": positions, "memory_padding": padding}
        return self.decode(self.query_embedding.weight.expand(images.shape[0], -1, -1), looked_at)

    def decode(self, queries: Tensor, looked_at: Mapping[str, Tensor]) -> tuple[Any, ...]:
        """What `outputs` returns. queries: (N, Q, C), learned positions. looked_at: `memory` and so on."""
        states = self.decoder(torch.zeros_like(queries), query_pos=queries, **looked_at)
        return tuple(self.bbox_head(states))


class ConditionalDETR(DETR):
    """A decoder that looks at contents and positions apart from each other (Meng et al., Conditional DETR, 2021)."""

    def make_decoder(self, settings: Mapping[str, Any]) -> nn.Module:
        """The decoder of a description."""
        return ConditionalDecoder(**settings)

    def decode(self, queries: Tensor, looked_at: Mapping[str, Tensor]) -> tuple[Any, ...]:
        """See `DETR.decode`."""
        return tuple(self.bbox_head(*self.decoder(torch.zeros_like(queries), query_pos=queries, **looked_at)))


class DABDETR(DETR):
    """Queries that are boxes (Liu et al., DAB-DETR, 2022).

    num_patterns: learned contents, of each of which every box makes a query; without them contents start from zero.
    with_random_refpoints: the queries' centers start from random points and are not learned.
    """

    def __init__(self, num_patterns: int = 0, with_random_refpoints: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_patterns, self.with_random_refpoints = num_patterns, with_random_refpoints
        if num_patterns:
            self.patterns = nn.Embedding(num_patterns, self.encoder.embed_dims)

    def make_encoder(self, settings: Mapping[str, Any]) -> nn.Module:
        """The encoder of a description."""
        return DABEncoder(**settings)

    def make_decoder(self, settings: Mapping[str, Any]) -> nn.Module:
        """The decoder of a description."""
        return DABDecoder(**settings)

    def query_channels(self) -> int:
        """A box's coordinates."""
        channels: int = self.decoder.query_dim
        return channels

    def decode(self, queries: Tensor, looked_at: Mapping[str, Tensor]) -> tuple[Any, ...]:
        """See `DETR.decode`. queries: (N, Q, 4), logits of cxcywh."""
        batch, count = queries.shape[:2]
        states = queries.new_zeros(batch, count, self.encoder.embed_dims)
        if self.num_patterns:
            queries = queries.repeat(1, self.num_patterns, 1)
            states = self.patterns.weight.repeat_interleave(count, dim=0).expand(batch, -1, -1)
        states, boxes = self.decoder(states, queries, **looked_at, regress=self.bbox_head.fc_reg)
        return tuple(self.bbox_head(states, boxes))
