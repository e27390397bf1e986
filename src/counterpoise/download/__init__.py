"""Raw files: from a mirror folder, from addresses, or generated; checked before they count.

What is known of a source's files besides what is published is in ``data/records``:
``SOURCE-RAW.checksums.json`` has the sha256 of files whose publisher gives no checksum, as of the
first time that all of the source was there, and holds from then on; ``SOURCE-RAW.verified.json``
tells by size, time and inode which files have been read and found right, so that tens of gigabytes
are not read again at each start.
"""

from counterpoise.download.alone import alone
from counterpoise.download.room import to_prepare
from counterpoise.download.source import fetch_source

__all__ = ["alone", "fetch_source", "to_prepare"]
