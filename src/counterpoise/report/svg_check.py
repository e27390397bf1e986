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
_PROPERTIES = (
    "fill", "fill-opacity", "fill-rule", "font-size", "font-stretch", "font-style", "font-variant",
    "font-weight", "image-rendering", "opacity", "shape-rendering", "stroke", "stroke-dasharray",
    "stroke-dashoffset", "stroke-linecap", "stroke-linejoin", "stroke-miterlimit",
    "stroke-opacity", "stroke-width", "text-anchor",
)  # fmt: skip
_TEXTS = {"desc", "style", "title"}
"""What holds no elements: a browser would read them in another way than a reader of XML."""
_LINK = re.compile(r"#[\w.-]+|data:image/png;base64,[A-Za-z0-9+/=\s]*")
# A value calls nothing and is nowhere but on the page.
_DECLARED = rf"(?:{'|'.join(_PROPERTIES)}):(?:[\w\s.,#%-]*|url\(#[\w.-]+\))"
_STYLE = re.compile(rf"(?:{_DECLARED}(?:;{_DECLARED})*)?")
# Parts and styles as reproduction.vector names them: the drawing's own beginning, and a number.
_NAME = re.compile(r"([a-z][0-9a-z]{4}-)\d+")
_LABEL = re.compile(r"[\w.-]+-(?:title|desc)")
_RULE = re.compile(rf"\.({_NAME.pattern})\{{([^{{}}]*)\}}")
# Escapes, imports, and calls of anything but a place in the drawing or a link to one of its parts.
_ACTS = re.compile(
    r"[@\\<]|\((?<!\brotate\()(?<!\btranslate\()(?<!\bscale\()(?<!\bmatrix\()(?<!\burl\()"
    r"|url\((?!#)",
    re.IGNORECASE,
)


def is_drawing(svg: str) -> bool:
    """Whether an SVG has shapes, text and pictures in it and nothing that acts or is elsewhere.

    Its styles are of its own parts: those of a drawing within a page hold for all of the page.
    """
    if not svg.startswith("<svg") or "<!" in svg or "<?" in svg:  # no entities, no CDATA
        return False
    try:
        root = ET.fromstring(svg)
    except ET.ParseError:
        return False
    # Moved as a whole, it would lie over the page; within its frame all is cut off at the frame.
    stays = "transform" not in root.attrib
    return stays and all(map(_is_harmless, root.iter())) and _has_own_names(root)


def _is_harmless(node: ET.Element) -> bool:
    tag = node.tag.removeprefix(_SVG) if isinstance(node.tag, str) else ""
    if tag not in _TAGS or (tag in _TEXTS and len(node)):
        return False
    if tag == "style" and not _is_sheet(node.text or ""):
        return False
    return all(_is_harmless_value(name, value) for name, value in node.attrib.items())


def _is_harmless_value(name: str, value: str) -> bool:
    if name in _LINKS:
        return _LINK.fullmatch(value) is not None
    if name == "style":
        return _STYLE.fullmatch(value) is not None
    return name in _ATTRIBUTES and not _ACTS.search(value)


def _is_sheet(text: str) -> bool:
    """Whether it gives classes of the drawing's own a look, and is nothing else."""
    rules = [*_RULE.finditer(text)]
    whole = "".join(rule[0] for rule in rules) == text
    return whole and all(_STYLE.fullmatch(rule[3]) for rule in rules)


def _has_own_names(root: ET.Element) -> bool:
    """Whether all names begin alike, as in drawings only, but for those of title and description.

    With names of the page a drawing could take on the page's look, or be what a link leads to.
    """
    labels = {*root.get("aria-labelledby", "").split()}
    names = {value for node in root.iter() for key, value in node.items() if key == "class"}
    names |= {value for node in root.iter() for key, value in node.items() if key == "id"} - labels
    for sheet in (*root.iter("style"), *root.iter(f"{_SVG}style")):
        names |= {rule[1] for rule in _RULE.finditer(sheet.text or "")}
    found = [_NAME.fullmatch(name) for name in names]
    alike = len({match[1] if match else "" for match in found}) <= 1
    return alike and None not in found and all(map(_LABEL.fullmatch, labels))
