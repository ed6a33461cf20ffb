"""The style next to the land-cover raster, which QGIS applies by itself to show the 44 classes by name and colour.

docs/decisions/0005-land-cover-raster.md explains why it is neither a palette nor an attribute table.
"""

from xml.etree.ElementTree import Element, SubElement, indent, tostring

from earthsignature_assets.nomenclature import CLASSES


def qgis_style() -> bytes:
    """Build a QGIS layer style (QML): every CORINE class with its official colour, labelled `312 Coniferous forest`.

    QGIS 3.0 and later applies a `.qml` next to a raster with the same name.
    """
    root = Element("qgis", version="3.22.0", styleCategories="Symbology")
    renderer = SubElement(SubElement(root, "pipe"), "rasterrenderer", type="paletted", band="1", opacity="1")
    palette = SubElement(renderer, "colorPalette")
    for entry in CLASSES:
        label = f"{entry.code} {entry.name}"
        SubElement(palette, "paletteEntry", value=str(entry.code), color=entry.hex_colour, alpha="255", label=label)
    indent(root)
    return b"<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n" + tostring(root) + b"\n"
