"""Pictures for people: true colour, land cover in official colours, panels side by side with a legend.

Pure functions from arrays to RGB arrays and PNG bytes.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from earthsignature_assets.nomenclature import class_of, palette

RGB = npt.NDArray[np.uint8]

_MARGIN = 16
_TITLE = 30
_INK = (33, 37, 41)
_PAPER = (255, 255, 255)
_FRAME = (173, 181, 189)


@dataclass(frozen=True)
class Panel:
    """One image of a picture, (height, width, 3) uint8, with its title."""

    title: str
    image: RGB


def true_colour(
    red: npt.NDArray[np.uint16],
    green: npt.NDArray[np.uint16],
    blue: npt.NDArray[np.uint16],
    brightest: float = 2500.0,
) -> RGB:
    """Render reflectance × 10000 as RGB; `brightest` and above become white, and so do pixels of 0 in every band.

    Args:
        red: (height, width) uint16, B04; `green` is B03 and `blue` B02 on the same grid.
        green: see `red`.
        blue: see `red`.
        brightest: the reflectance × 10000 that saturates.
    """
    stack = np.stack([red, green, blue], axis=-1).astype(np.float32)
    image: RGB = (np.clip(stack / brightest, 0, 1) ** (1 / 1.6) * 255).astype(np.uint8)
    image[(stack == 0).all(axis=-1)] = _PAPER
    return image


def land_cover(codes: npt.NDArray[np.uint16]) -> RGB:
    """Render CORINE level-3 codes, (height, width) uint16, in their official colours; no data is white."""
    image: RGB = palette()[np.minimum(codes, 999)]
    return image


def overview(image: npt.NDArray[Any], longest: int, categorical: bool = False) -> npt.NDArray[Any]:
    """Shrink an image to at most `longest` pixels on its longest side; classes are sampled, never mixed."""
    height, width = image.shape[:2]
    factor = min(1.0, longest / max(height, width))
    if factor == 1.0:
        return image
    import cv2  # the core installation has no OpenCV: it reads overviews

    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return cv2.resize(image, size, interpolation=cv2.INTER_NEAREST if categorical else cv2.INTER_AREA)


def png(image: RGB) -> bytes:
    """Encode an RGB image as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def side_by_side(panels: Sequence[Panel], legend: Sequence[int] = (), title: str = "", panel_height: int = 420) -> RGB:
    """Lay panels in a row at one height, with a legend of CORINE codes below.

    Args:
        panels: at least one; each is scaled to `panel_height`.
        legend: the level-3 codes to explain, in this order.
        title: the line above everything, left out when empty.
        panel_height: the height in pixels of every panel.
    """
    placed, left = [], _MARGIN
    for panel in panels:
        image = _at_height(panel.image, panel_height)
        placed.append((Panel(panel.title, image), left, 0))
        left += image.shape[1] + _MARGIN
    return _sheet(placed, left, _TITLE + panel_height, legend, title)


def input_truth_prediction(
    image: RGB, truth: RGB, prediction: RGB, legend: Sequence[int] = (), title: str = "", panel_height: int = 640
) -> RGB:
    """Lay out a prediction: the input on the left, ground truth at the upper right, prediction at the lower right.

    Args:
        image: the input, true colour.
        truth: the ground truth of the same area in official colours, void white.
        prediction: the prediction of the same area.
        legend: the level-3 codes to explain, in this order.
        title: the line above everything, left out when empty.
        panel_height: the height in pixels of the input.
    """
    half = (panel_height - _TITLE - _MARGIN) // 2
    left = _at_height(image, panel_height)
    above, below = _at_height(truth, half), _at_height(prediction, half)
    column = _MARGIN + left.shape[1] + _MARGIN
    placed = [
        (Panel("input", left), _MARGIN, 0),
        (Panel("ground truth", above), column, 0),
        (Panel("prediction", below), column, panel_height - half),
    ]
    return _sheet(placed, column + above.shape[1] + _MARGIN, _TITLE + panel_height, legend, title)


def _at_height(image: RGB, height: int) -> RGB:
    if image.shape[0] == height:
        return image
    import cv2

    interpolation = cv2.INTER_AREA if image.shape[0] > height else cv2.INTER_NEAREST
    size = (round(image.shape[1] * height / image.shape[0]), height)
    return np.asarray(cv2.resize(image, size, interpolation=interpolation), np.uint8)


def _sheet(placed: Sequence[tuple[Panel, int, int]], width: int, bottom: int, legend: Sequence[int], title: str) -> RGB:
    """Draw a sheet with panels, whose titles begin at x, y, and a legend below `bottom`."""
    font, small = ImageFont.load_default(18), ImageFont.load_default(14)
    width = max(width, 640)
    columns = max(1, (width - _MARGIN) // 300)
    head = 34 if title else 0
    legend_top = head + bottom + _MARGIN
    height = legend_top + -(-len(legend) // columns) * 24 + _MARGIN
    sheet = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    if title:
        draw.text((_MARGIN, 10), title, _INK, font)
    for panel, left, above in placed:
        top = head + above + _TITLE
        rows, across = panel.image.shape[:2]
        draw.text((left, top - 22), panel.title, _INK, small)
        sheet.paste(Image.fromarray(panel.image), (left, top))
        draw.rectangle((left - 1, top - 1, left + across, top + rows), outline=_FRAME, width=1)
    for position, code in enumerate(legend):
        entry = class_of(code)
        x = _MARGIN + position % columns * 300
        y = legend_top + position // columns * 24
        draw.rectangle((x, y, x + 22, y + 16), fill=entry.rgb, outline=_FRAME)
        name = entry.name if len(entry.name) <= 34 else entry.name[:33] + "…"
        draw.text((x + 30, y), f"{code} {name}", _INK, small)
    return np.asarray(sheet)
