"""``python -m counterpoise``."""

from counterpoise.cli import main

if __name__ == "__main__":
    main()
