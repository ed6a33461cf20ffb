"""The style beside the land-cover raster: QGIS opens it by itself and shows the 44 classes by name and colour.

Why a style and neither a palette nor an attribute table: docs/decisions/0005-land-cover-raster.md.
"""

from xml.etree.ElementTree import Element, SubElement, indent, tostring

from earthsignature_assets.nomenclature import CLASSES


def qgis_style() -> bytes:
    """Build a QGIS layer style (QML): every CORINE class with its official colour, labelled `312 Coniferous forest`.

    QGIS, of any version from 3.0, takes the `.qml` that lies beside a raster and has its name.
    """
    root = Element("qgis", version="3.22.0", styleCategories="Symbology")
    renderer = SubElement(SubElement(root, "pipe"), "rasterrenderer", type="paletted", band="1", opacity="1")
    palette = SubElement(renderer, "colorPalette")
    for entry in CLASSES:
        label = f"{entry.code} {entry.name}"
        SubElement(palette, "paletteEntry", value=str(entry.code), color=entry.hex_colour, alpha="255", label=label)
    indent(root)
    return b"<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n" + tostring(root) + b"\n"
