"""A map of the day: the footprints of its scenes, coloured by their verdicts."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from shapely import GeometryCollection, union_all
from shapely.affinity import translate
from shapely.geometry.base import BaseGeometry

from earthsignature_assets.imagery.days.scene_verdicts import SceneVerdict
from earthsignature_assets.imagery.scenes.footprint import polygons_of
from earthsignature_assets.pictures import RGB

_ACCEPTED, _REFUSED = (47, 158, 68), (224, 49, 49)
_INK, _PAPER, _GRATICULE = (33, 37, 41), (255, 255, 255), (222, 226, 230)
_WIDTH, _TALLEST, _HEAD, _MARGIN = 720, 900, 60, 40


def draw_day(title: str, scenes: Sequence[tuple[SceneVerdict, BaseGeometry]]) -> RGB:
    """Draw the footprints (EPSG:4326) of a day's scenes, green where accepted and red where refused.

    A scene gets a label with its cloud cover if there is room.

    Returns:
        (height up to 900, 720, 3) uint8, plate carrée stretched to the scenes' middle latitude.
    """
    shown = _side_by_side([footprint for _, footprint in scenes])
    boxes = np.array([footprint.bounds for footprint in shown])
    west, south = boxes[:, :2].min(axis=0) - 0.3
    east, north = boxes[:, 2:].max(axis=0) + 0.3
    shrink = max(0.2, float(np.cos(np.radians((south + north) / 2))))
    width_deg, height_deg = (east - west) * shrink, north - south
    scale = min((_WIDTH - 2 * _MARGIN) / width_deg, (_TALLEST - _HEAD - _MARGIN) / height_deg)
    left = (_WIDTH - width_deg * scale) / 2
    height = int(_HEAD + height_deg * scale + _MARGIN)
    sheet = Image.new("RGB", (_WIDTH, height), _PAPER)
    draw = ImageDraw.Draw(sheet, "RGBA")
    font, small = ImageFont.load_default(18), ImageFont.load_default(12)

    def place(longitude: float, latitude: float) -> tuple[float, float]:
        return left + (longitude - west) * shrink * scale, _HEAD + (north - latitude) * scale

    step = next(step for step in (0.5, 1, 2, 5, 10, 20, 30) if max(east - west, north - south) / step <= 12)
    for longitude in np.arange(np.ceil(west / step) * step, east, step):
        draw.line([place(longitude, south), place(longitude, north)], fill=_GRATICULE)
        draw.text(
            (place(longitude, south)[0], height - _MARGIN + 6),
            f"{180 - (180 - longitude) % 360:g}°",
            _INK,
            small,
            anchor="mt",
        )
    for latitude in np.arange(np.ceil(south / step) * step, north, step):
        draw.line([place(west, latitude), place(east, latitude)], fill=_GRATICULE)
        draw.text((left - 5, place(west, latitude)[1]), f"{latitude + 0:g}°", _INK, small, anchor="rm")
    for (verdict, _), footprint in zip(scenes, shown, strict=True):
        colour = _ACCEPTED if verdict.accepted else _REFUSED
        for polygon in polygons_of(footprint):
            outline = [place(*position[:2]) for position in polygon.exterior.coords]
            draw.polygon(outline, fill=(*colour, 70), outline=colour)
    named: list[tuple[float, float, float, float]] = []
    for (verdict, _), footprint in zip(scenes, shown, strict=True):
        middle, text = footprint.representative_point(), f"{verdict.key.tile}\n{verdict.cloud_percent:.0f} %"
        box = draw.textbbox(place(middle.x, middle.y), text, font=small, anchor="mm", align="center")
        has_west, has_south, has_east, has_north = footprint.bounds
        wide = box[2] - box[0] < (has_east - has_west) * shrink * scale
        tall = box[3] - box[1] < (has_north - has_south) * scale
        if wide and tall and not any(_meet(box, other) for other in named):
            named.append(box)
            draw.text(place(middle.x, middle.y), text, _INK, small, anchor="mm", align="center")
    draw.text((_MARGIN, 8), title, _INK, font)
    x = float(_MARGIN)
    for colour, text in ((_ACCEPTED, "accepted"), (_REFUSED, "refused")):
        draw.rectangle((x, 38, x + 10, 48), fill=(*colour, 70), outline=colour)
        draw.text((x + 16, 43), text, _INK, small, anchor="lm")
        x += 34 + draw.textlength(text, small)
    draw.text((x, 43), "% is cloud over the valid area", _INK, small, anchor="lm")
    return np.asarray(sheet)


def _side_by_side(footprints: Sequence[BaseGeometry]) -> list[BaseGeometry]:
    """Shift footprints for the map: across the antimeridian, its eastern side continues its western side."""
    west, _, east, _ = GeometryCollection(footprints).bounds
    if east - west <= 180:
        return list(footprints)
    return [
        union_all([translate(part, 360) if part.centroid.x < 0 else part for part in polygons_of(footprint)])
        for footprint in footprints
    ]


def _meet(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
