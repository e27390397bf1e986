"""Whether a drawing on disk is nothing but a drawing, as it goes into the page as it is.

Drawings may have been pulled from elsewhere. What ours are made of is allowed; all else is not.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

_SVG = "{http://www.w3.org/2000/svg}"
_LINKS = ("href", "{http://www.w3.org/1999/xlink}href")
_TAGS = {
    "circle", "clipPath", "defs", "desc", "g", "image", "line", "path", "pattern", "polygon",
    "polyline", "rect", "style", "svg", "text", "title", "tspan", "use",
}  # fmt: skip
_ATTRIBUTES = {
    "aria-labelledby", "class", "clip-path", "cx", "cy", "d", "fill", "fill-opacity",
    "font-family", "font-size", "height", "id", "opacity", "patternTransform", "patternUnits",
    "points", "preserveAspectRatio", "r", "role", "stroke", "stroke-linejoin", "stroke-opacity",
    "stroke-width", "style", "text-anchor", "transform", "viewBox", "width", "x", "x1", "x2",
    "xmlns", "y", "y1", "y2",
}  # fmt: skip
_LINK = re.compile(r"#[\w.-]+|data:image/png;base64,[A-Za-z0-9+/=\s]*")
# Escapes, imports and links to anything but a part of the drawing.
_STYLE = re.compile(r"[@\\<]|url\((?!#)|expression|javascript:", re.IGNORECASE)


def is_drawing(svg: str) -> bool:
    """Whether an SVG has shapes, text and pictures in it and nothing that acts or is elsewhere."""
    if not svg.startswith("<svg") or "<!" in svg or "<?" in svg:  # no entities, no CDATA
        return False
    try:
        root = ET.fromstring(svg)
    except ET.ParseError:
        return False
    return all(map(_is_harmless, root.iter()))


def _is_harmless(node: ET.Element) -> bool:
    tag = node.tag.removeprefix(_SVG) if isinstance(node.tag, str) else ""
    if tag not in _TAGS or (tag == "style" and _STYLE.search(node.text or "")):
        return False
    return all(
        _LINK.fullmatch(value) is not None
        if name in _LINKS
        else name in _ATTRIBUTES and not _STYLE.search(value)
        for name, value in node.attrib.items()
    )
