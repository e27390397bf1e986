"""Counts, sizes and times in plain text; :mod:`counterpoise.report.numbers` sets them for pages."""


def plural(number: int, word: str) -> str:
    """``1 seed``, ``3 seeds``."""
    return f"{number} {word}{'s' * (number != 1)}"


def size(count: float) -> str:
    """Bytes for people: 45.1 GB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"


def duration(seconds: float) -> str:
    """Seconds for people: 2 h 05 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
