"""How a plan comes about: runs as a tier makes them, their cells, and what papers show of them."""
