"""What the parts of a drawing have in common, said once: ticks, clips, styles."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from itertools import groupby

SVG = "http://www.w3.org/2000/svg"
_TICK = re.compile(r"M\s*0 0\s*L\s*(-?[\d.]+) (-?[\d.]+)\s*")
_FILL = re.compile(r"(?:^|;)fill:(#[0-9a-f]{3,6})(?=;|$)")
MANY_FILLS = 3
"""Colours from which on those of a field of like parts stand on the parts, not in classes."""


def share_ticks(root: ET.Element) -> None:
    """Draw the ticks of a kind as one path: a line of its own for each costs five times as much."""
    lines = {
        f"#{path.get('id')}": (path, match)
        for path in root.iter(f"{{{SVG}}}path")
        if "id" in path.attrib and (match := _TICK.fullmatch(path.get("d", "")))
    }
    for parent in list(root.iter()):
        found = defaultdict(list)
        for child in parent:
            if child.tag == f"{{{SVG}}}use" and child.get("href") in lines:
                found[child.attrib["href"]].append(child)
        for href, uses in found.items():
            path, match = lines[href]
            dx, dy = float(match[1]), float(match[2])
            data = "".join(
                f"M{use.get('x', '0')} {use.get('y', '0')}"
                f"L{float(use.get('x', '0')) + dx:.2f} {float(use.get('y', '0')) + dy:.2f}"
                for use in uses
            )
            place = list(parent).index(uses[0])
            drawn = ET.Element(f"{{{SVG}}}path", {"d": data, "style": path.get("style", "")})
            for use in uses:
                parent.remove(use)
            parent.insert(place, drawn)
    left = {node.get("href") for node in root.iter(f"{{{SVG}}}use")}
    _remove(root, [path for href, (path, _) in lines.items() if href not in left])


def _remove(root: ET.Element, nodes: list[ET.Element]) -> None:
    """Take nodes out, and the definitions that are empty then."""
    gone = {id(node) for node in nodes}
    for parent in root.iter():
        parent[:] = [child for child in parent if id(child) not in gone]
    for parent in root.iter():
        parent[:] = [c for c in parent if c.tag != f"{{{SVG}}}defs" or len(c)]


def share_clips(root: ET.Element) -> None:
    """Put neighbours with the same clip into one group."""

    def clip(node: ET.Element) -> str | None:
        return None if "transform" in node.attrib else node.get("clip-path")

    def bare(node: ET.Element) -> Iterator[ET.Element]:
        if node.tag == f"{{{SVG}}}g" and len(node.attrib) == 1:
            yield from node
        else:
            del node.attrib["clip-path"]
            yield node

    for parent in list(root.iter()):
        _group(parent, clip, "clip-path", bare)


def share_groups(root: ET.Element) -> None:
    """Put neighbours with the same class into one group."""

    def style(node: ET.Element) -> str | None:
        return node.get("class")

    def bare(node: ET.Element) -> Iterator[ET.Element]:
        del node.attrib["class"]
        yield node

    for parent in list(root.iter()):
        if parent.tag not in (f"{{{SVG}}}defs", f"{{{SVG}}}text"):  # text holds no groups
            _group(parent, style, "class", bare)


def _group(
    parent: ET.Element,
    value: Callable[[ET.Element], str | None],
    name: str,
    bare: Callable[[ET.Element], Iterator[ET.Element]],
) -> None:
    children: list[ET.Element] = []
    for shared, run in groupby(list(parent), value):
        nodes = list(run)
        if shared is None or len(nodes) < 2:
            children += nodes
            continue
        group = ET.Element(f"{{{SVG}}}g", {name: shared})
        group.extend(one for node in nodes for one in bare(node))
        children.append(group)
    parent[:] = children


def share_styles(root: ET.Element, prefix: str) -> None:
    """Give styles that occur often a class each."""
    _colour_parts(root)
    found = Counter(node.attrib["style"] for node in root.iter() if "style" in node.attrib)
    often = [style for style, number in found.most_common() if number > 2]
    classes = {style: f"{prefix}{number}" for number, style in enumerate(often)}
    for node in root.iter():
        if node.get("style") in classes:
            node.set("class", classes[node.attrib.pop("style")])
    named = {f"#{n.get('id')}": n.get("class") for n in root.iter() if "id" in n.attrib}
    for use in root.iter(f"{{{SVG}}}use"):
        if use.get("class") and use.get("class") == named.get(use.get("href", "")):
            del use.attrib["class"]  # what it shows has the style itself
    if classes:
        sheet = ET.Element(f"{{{SVG}}}style")
        sheet.text = "".join(f".{name}{{{style}}}" for style, name in classes.items())
        root.insert(0, sheet)


def _colour_parts(root: ET.Element) -> None:
    """Move the fill of parts that differ in nothing else from their style to an attribute."""
    alike: dict[str, list[tuple[ET.Element, str]]] = defaultdict(list)
    for node in root.iter():
        if match := _FILL.search(node.get("style", "")):
            rest = _FILL.sub("", node.attrib["style"]).strip(";")
            alike[rest].append((node, match[1]))
    for rest, nodes in alike.items():
        if rest and len({fill for _, fill in nodes}) > MANY_FILLS:
            for node, fill in nodes:
                node.set("fill", fill)
                node.set("style", rest)
