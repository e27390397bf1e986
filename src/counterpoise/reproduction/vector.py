"""matplotlib's SVG made small and self-contained, so that many fit on one page."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import xml.etree.ElementTree as ET

from counterpoise.reproduction.outline import shorten
from counterpoise.reproduction.sharing import (
    share_clips,
    share_groups,
    share_styles,
    share_ticks,
)

SVG = "http://www.w3.org/2000/svg"
LINK = "{http://www.w3.org/1999/xlink}href"

ET.register_namespace("", SVG)

SLACK = 0.12
"""Points of a line that may be left out lie this close to it, in points of 1/72 inch."""
PICTURE_COLOURS = 96
"""Of a picture in a drawing, which is a map over a radiograph or a field of probabilities."""

_NOISE = {
    "stroke-linejoin: miter", "stroke-linecap: square", "stroke-linecap: butt", "opacity: 1",
    "fill: currentColor", "stroke-dashoffset: 0",
}  # fmt: skip
_LONG = re.compile(r"(\d{2,}\.\d)\d+")
_SHORT = re.compile(r"(?<![\d.])(\d\.\d{2})\d+")
_ZEROS = re.compile(r"(\d)\.0+(?!\d)|(\.\d*?[1-9])0+(?!\d)")
_STILL = re.compile(r"^rotate\(-?0(\.0+)?( [^)]*)?\)$")
_NAMED = re.compile(r"(url\(#|^#)([^)]+)")
_DOUBLE = re.compile(r"#([0-9a-f])\1([0-9a-f])\2([0-9a-f])\3(?![0-9a-f])")
_PICTURE = "data:image/png;base64,"
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def compact(svg: str, salt: str) -> ET.Element:
    """The drawing as a tree of what shows: coordinates cut, styles shared, names short.

    Names of parts and styles begin with a digest of ``salt``: several drawings may share a page.
    Text takes its font and colour from the root, which takes its colour from the page.
    """
    root = ET.fromstring(svg)
    prefix = prefix_of(salt)
    used = dict.fromkeys(re.findall(r'(?:url\(#|href="#)([^)"]+)', svg))
    names = {old: f"{prefix}{number}" for number, old in enumerate(used)}
    for node in root.iter():
        _tidy(node, names)
    _drop(root)
    _unwrap(root)
    share_ticks(root)
    _shorten(root)
    share_clips(root)
    share_styles(root, prefix)
    share_groups(root)
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.set("fill", "currentColor")
    root.set("stroke-linejoin", "round")
    root.set("font-family", "system-ui, 'DejaVu Sans', sans-serif")
    return root


def prefix_of(salt: str) -> str:
    """A letter and four digits of base 36: 43 million, for the few dozen drawings of a page."""
    number = int(hashlib.sha256(salt.encode()).hexdigest()[:16], 16)
    text = _DIGITS[10 + number % 26]
    number //= 26
    for _ in range(4):
        text += _DIGITS[number % 36]
        number //= 36
    return f"{text}-"


def _tidy(node: ET.Element, names: dict[str, str]) -> None:
    node.text = (node.text or "").strip() or None
    node.tail = (node.tail or "").strip() or None
    if LINK in node.attrib:
        node.set("href", node.attrib.pop(LINK))
    for name, value in list(node.attrib.items()):
        if name == "id":
            _set(node, name, names.get(value, ""))
        elif name == "href" and value.startswith(_PICTURE):
            node.set(name, _fewer_colours(value))
        elif name in ("href", "clip-path"):
            node.set(name, _NAMED.sub(lambda m: m[1] + names[m[2]], value))
        elif name == "style":  # which may fill with a pattern
            named = _NAMED.sub(lambda m: m[1] + names[m[2]], value)
            parts = (part.strip() for part in named.split(";"))
            kept = [p for p in parts if p and p not in _NOISE and not p.startswith("font-family")]
            short = ";".join(part.replace(": ", ":").replace(", ", ",") for part in kept)
            _set(node, name, _DOUBLE.sub(r"#\1\2\3", short))
        elif name == "transform" and _STILL.match(value):
            del node.attrib[name]
        elif name in ("x", "y", "transform", "points"):
            node.set(name, _cut(value))


def _fewer_colours(link: str) -> str:
    """An opaque picture with a palette, where that makes it smaller."""
    from PIL import Image

    data = base64.b64decode(link.removeprefix(_PICTURE))
    with Image.open(io.BytesIO(data)) as picture:
        opaque = picture.convert("RGBA").getchannel("A").getextrema() == (255, 255)
        rgb = picture.convert("RGB")
    if not opaque:
        return link
    written = io.BytesIO()
    palette = rgb.quantize(PICTURE_COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    palette.save(written, "PNG", optimize=True)
    smaller = written.getvalue()
    if len(smaller) >= len(data):
        return link
    return _PICTURE + base64.b64encode(smaller).decode("ascii")


def _shorten(root: ET.Element) -> None:
    """Outlines; the shapes of markers are small and keep a decimal more."""
    small = {id(path) for defs in root.iter(f"{{{SVG}}}defs") for path in defs.iter()}
    for node in root.iter():
        if "d" in node.attrib:
            decimals, slack = (2, 0.0) if id(node) in small else (1, SLACK)
            node.set("d", shorten(node.attrib["d"], decimals, slack))


def _cut(value: str) -> str:
    """Numbers with one decimal from ten on, two below, and no zeros at their end."""
    value = _SHORT.sub(r"\1", _LONG.sub(r"\1", value))
    return _ZEROS.sub(lambda match: match[1] or match[2], value)


def _set(node: ET.Element, name: str, value: str) -> None:
    if value:
        node.set(name, value)
    else:
        node.attrib.pop(name, None)


def _is_seen(node: ET.Element) -> bool:
    if node.tag in (f"{{{SVG}}}metadata", f"{{{SVG}}}style"):
        return False
    bare = node.tag == f"{{{SVG}}}path" and node.get("style") == "fill:none"
    return not bare or "id" in node.attrib


def _drop(root: ET.Element) -> None:
    """Remove what does not show: frames without a line, notes, matplotlib's style sheet."""
    for parent in root.iter():
        if parent.tag != f"{{{SVG}}}clipPath":
            parent[:] = [child for child in parent if _is_seen(child)]


def _unwrap(node: ET.Element) -> None:
    """Replace groups without attributes by what they hold."""
    children: list[ET.Element] = []
    for child in node:
        _unwrap(child)
        group = child.tag == f"{{{SVG}}}g" or (child.tag == f"{{{SVG}}}defs" and not len(child))
        children += child if group and not child.attrib else [child]
    node[:] = children
