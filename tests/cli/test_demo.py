import io
from pathlib import Path

from PIL import Image
from rich.console import Console

from earthsignature_assets.cli.demo import run_demo
from earthsignature_assets.products.catalogue.catalogue import ProductQuery
from earthsignature_assets.products.store.product_store import ProductStore
from earthsignature_assets.system.settings import Settings


def test_the_demo_goes_from_search_to_picture(tmp_path: Path) -> None:
    output = io.StringIO()
    run_demo(Settings(home=tmp_path), size=256, console=Console(file=output, width=140))
    with ProductStore(tmp_path / "store").open_catalogue(read_only=True) as catalogue:
        scenes = sorted(str(product.scene) for product in catalogue.search(ProductQuery()))
    assert scenes == ["2026-05-01_R022_T32TQM", "2026-05-01_R022_T33TUG", "2026-05-03_R050_T32TQM"]
    for named in ("v1 rasters", "v2 polygons", "wkt, dates and category", "make ui", "earthsignature run", "demo.png"):
        assert named in output.getvalue()
    with Image.open(tmp_path / "demo.png") as picture:
        assert picture.width > 800
