"""Unpacks the files of a wheel whose names match one of the given patterns, telling the progress as lines of JSON.

usage: unpack_wheel.py WHEEL FOLDER PATTERN...
"""
import json
import os
import re
import sys
import time
import zipfile


def tell(**what):
    print(json.dumps(what), flush=True)


def main(wheel, folder, patterns):
    wanted = re.compile("|".join(patterns))
    with zipfile.ZipFile(wheel) as archive:
        members = [m for m in archive.infolist() if not m.is_dir() and wanted.search(m.filename)]
        total = sum(m.file_size for m in members)
        done, told, files = 0, 0.0, {}
        for member in members:
            parts = member.filename.split("/")
            if ".." in parts or member.filename.startswith("/"):
                raise ValueError("the wheel holds a path that leaves its folder: " + member.filename)
            path = os.path.join(folder, *parts)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            # Reading to the end checks the member's CRC.
            with archive.open(member) as source, open(path, "wb") as target:
                while True:
                    block = source.read(1 << 20)
                    if not block:
                        break
                    target.write(block)
                    done += len(block)
                    if time.monotonic() - told > 0.1:
                        told = time.monotonic()
                        tell(done=done, total=total)
            if (member.external_attr >> 16) & 0o100:
                os.chmod(path, 0o755)
            files[member.filename] = member.file_size
    tell(files=files)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
