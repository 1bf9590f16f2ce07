"""Reads zips of Alma's XML with another program's eyes: prints each as JSON.

Usage: read_zips.py ZIP...
"""

import json
import sys
import xml.etree.ElementTree as ET
import zipfile


def fields(element, path, found):
    for child in element:
        below = f"{path}/{child.tag}" if path else child.tag
        found.setdefault(below, []).append([child.text or "", child.attrib])
        fields(child, below, found)
    return found


def file(archive, info):
    text = archive.read(info).decode("utf-8")
    root = ET.fromstring(text.encode("utf-8"))
    assert root.tag == "userRecords", root.tag
    return {
        "name": info.filename,
        "deflated": info.compress_type == zipfile.ZIP_DEFLATED,
        "canonical": ET.canonicalize(text),
        "bytes": text,
        "users": [fields(user, "", {}) for user in root],
    }


def read(path):
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None, path
        return [file(archive, info) for info in archive.infolist()]


print(json.dumps([read(path) for path in sys.argv[1:]]))
