"""Exit 0 if a service answers 200: `python healthy.py http://127.0.0.1:9464/readyz [seconds]`.

With seconds it waits for that answer so long; without, it asks once.
"""

import http.client
import sys
import time
from urllib.parse import urlsplit


def healthy(address: str) -> bool:
    url = urlsplit(address)
    asked = http.client.HTTPConnection(url.hostname or "", url.port, timeout=3)
    try:
        asked.request("GET", url.path)
        return asked.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        asked.close()


def main(address: str, seconds: str = "0") -> int:
    end = time.monotonic() + float(seconds)
    while not healthy(address):
        if time.monotonic() >= end:
            return 1
        time.sleep(0.2)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
