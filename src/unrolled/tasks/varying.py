"""Training images come in; each comes out moved, mirrored or bent by a draw of its own.

B images of C colours, (H, W) pixels. What is drawn depends on the state of `draws` alone.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

APART = 4  # pixels between the places whose displacements are drawn; between them a smooth surface


def varied(
    images: np.ndarray,
    draws: np.random.RandomState,
    *,
    crop: int = 0,
    flip: bool = False,
    elastic: float = 0.0,
) -> np.ndarray:
    """Images float32 (B, C, H, W), changed; features of another number of axes stay as they are.

    Args:
        images: what to change; it is left alone itself.
        draws: where the changes come from.
        crop: move by up to so many pixels, the edge going on.
        flip: mirror every second image.
        elastic: bend: standard deviation in pixels of smooth displacements (Simard, Steinkraus and
            Platt 2003).

    Example:
        >>> images = np.arange(12, dtype=np.float32).reshape(1, 1, 3, 4)
        >>> varied(images, np.random.RandomState(0), crop=1)[0, 0, 0].tolist()
        [0.0, 1.0, 2.0, 3.0]
    """
    if images.ndim != 4:
        return images
    if crop or flip:
        images = _moved(images, crop, flip, draws)
    return _bent(images, elastic, draws) if elastic else images


def _moved(images: np.ndarray, crop: int, flip: bool, draws: np.random.RandomState) -> np.ndarray:
    height, width = images.shape[2:]
    wide = np.pad(images, ((0, 0), (0, 0), (crop, crop), (crop, crop)), mode="edge")
    found = np.empty_like(images)
    for k, (y, x, turn) in enumerate(
        zip(*draws.randint(0, 2 * crop + 1, (2, len(images))), draws.rand(len(images)), strict=True)
    ):
        part = wide[k, :, y : y + height, x : x + width]
        found[k] = part[:, :, ::-1] if flip and turn < 0.5 else part
    return found


def _bent(images: np.ndarray, elastic: float, draws: np.random.RandomState) -> np.ndarray:
    count, _, height, width = images.shape
    places = (max(2, -(-height // APART) + 1), max(2, -(-width // APART) + 1))
    drawn = torch.from_numpy(draws.standard_normal((count, 2, *places)).astype(np.float32))
    way = functional.interpolate(drawn, (height, width), mode="bicubic", align_corners=True)
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    y, x = rows + elastic * way[:, 0], columns + elastic * way[:, 1]
    # grid_sample counts from -1 to 1 over the outer edges of the first and last pixel
    grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], dim=-1)
    bent = functional.grid_sample(
        torch.from_numpy(np.ascontiguousarray(images)),
        grid,
        padding_mode="border",
        align_corners=False,
    )
    return bent.numpy()
