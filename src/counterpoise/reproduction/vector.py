"""matplotlib's SVG made small and self-contained, so that many fit on one page."""

from __future__ import annotations

import hashlib
import re
import xml.etree.ElementTree as ET
from collections import Counter

SVG = "http://www.w3.org/2000/svg"
LINK = "{http://www.w3.org/1999/xlink}href"

ET.register_namespace("", SVG)

_NOISE = {
    "stroke-linejoin: miter", "stroke-linecap: square", "stroke-linecap: butt", "opacity: 1",
    "fill: currentColor", "stroke-dashoffset: 0",
}  # fmt: skip
_LONG = re.compile(r"(\d{2,}\.\d)\d+")
_SHORT = re.compile(r"(?<![\d.])(\d\.\d{2})\d+")
_ZEROS = re.compile(r"(\d)\.0+(?!\d)|(\.\d*?[1-9])0+(?!\d)")
_STEP = re.compile(r"\s*([MLCQzZ])\s*")
_STILL = re.compile(r"^rotate\(-?0(\.0+)?( [^)]*)?\)$")
_NAMED = re.compile(r"(url\(#|^#)([^)]+)")


def compact(svg: str, salt: str) -> ET.Element:
    """The drawing as a tree of what shows: coordinates cut, styles shared, names short.

    Names of parts and styles begin with a digest of ``salt``: several drawings may share a page.
    Text takes its font and colour from the root, which takes its colour from the page.
    """
    root = ET.fromstring(svg)
    prefix = f"s{hashlib.sha256(salt.encode()).hexdigest()[:6]}"
    used = dict.fromkeys(re.findall(r'(?:url\(#|href="#)([^)"]+)', svg))
    names = {old: f"{prefix}-{number}" for number, old in enumerate(used)}
    for node in root.iter():
        _tidy(node, names)
    _drop(root)
    _unwrap(root)
    _share_styles(root, prefix)
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.set("fill", "currentColor")
    root.set("stroke-linejoin", "round")
    root.set("font-family", "system-ui, 'DejaVu Sans', sans-serif")
    return root


def _tidy(node: ET.Element, names: dict[str, str]) -> None:
    node.text = (node.text or "").strip() or None
    node.tail = (node.tail or "").strip() or None
    if LINK in node.attrib:
        node.set("href", node.attrib.pop(LINK))
    for name, value in list(node.attrib.items()):
        if name == "id":
            _set(node, name, names.get(value, ""))
        elif name in ("href", "clip-path"):
            node.set(name, _NAMED.sub(lambda m: m[1] + names[m[2]], value))
        elif name == "style":
            parts = (part.strip() for part in value.split(";"))
            kept = [p for p in parts if p and p not in _NOISE and not p.startswith("font-family")]
            _set(node, name, ";".join(part.replace(": ", ":") for part in kept))
        elif name == "transform" and _STILL.match(value):
            del node.attrib[name]
        elif name == "d":
            node.set(name, _STEP.sub(r"\1", _cut(value)).strip())
        elif name in ("x", "y", "transform", "points"):
            node.set(name, _cut(value))


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


def _share_styles(root: ET.Element, prefix: str) -> None:
    """Give styles that occur often a class each."""
    found = Counter(node.attrib["style"] for node in root.iter() if "style" in node.attrib)
    often = [style for style, number in found.most_common() if number > 2]
    classes = {style: f"{prefix}-{number}" for number, style in enumerate(often)}
    for node in root.iter():
        if node.get("style") in classes:
            node.set("class", classes[node.attrib.pop("style")])
    if classes:
        sheet = ET.Element(f"{{{SVG}}}style")
        sheet.text = "".join(f".{name}{{{style}}}" for style, name in classes.items())
        root.insert(0, sheet)
