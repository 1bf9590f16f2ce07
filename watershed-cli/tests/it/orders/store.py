"""A store of S3 that has the files of a folder, also when it is started again.

store.py PORT BUCKET PREFIX FOLDER
"""

import pathlib
import sys

from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from moto.s3.models import s3_backends
from werkzeug.serving import run_simple

port, bucket, prefix, folder = sys.argv[1:]
store = s3_backends["123456789012"]["aws"]
store.create_bucket(bucket, "us-east-1")
for path in sorted(pathlib.Path(folder).rglob("*")):
    if path.is_file():
        key = prefix + path.relative_to(folder).as_posix()
        store.put_object(bucket, key, path.read_bytes())
run_simple(
    "127.0.0.1",
    int(port),
    DomainDispatcherApplication(create_backend_app),
    threaded=True,
    request_handler=MotoRequestHandler,
)
