"""What others need for the same work; prints seconds, and the name and version of the peer.

    bench_peers.py bcrypt COST                      for one hash
    bench_peers.py fastavro SCHEMA RECORDS          for one record
    bench_peers.py {sling,dlt} {load,reload} CSV URL  for a file with a line of names, into a table
                                                    that is made, or that has all of its rows

Everything talks to this machine alone: reports of use are off, and whatever would leave it meets a
proxy that does not exist.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version

KEY = "order_id"


def told(peer: str, seconds: float) -> None:
    print(f"{seconds:.9f} {peer} {version(peer)}")


def bcrypt(cost: str) -> None:
    import bcrypt

    salt = b"$2b$%02d$GoldenTestSaltForNYPLu" % int(cost)
    times = []
    for _ in range(21):
        start = time.process_time()
        bcrypt.hashpw(b"481036337", salt)
        times.append(time.process_time() - start)
    told("bcrypt", statistics.median(times))


def fastavro(schema: str, number: str) -> None:
    import io

    from fastavro import parse_schema, schemaless_writer

    with open(schema, encoding="utf-8") as file:
        parsed = parse_schema(json.load(file))
    record = {
        "shoppertrak_site_id": "S0001 branch",
        "orbit": 1,
        "increment_start": "2024-06-30 09:45:00",
        "enters": 12,
        "exits": 34,
        "is_healthy_data": True,
        "is_missing_data": False,
        "is_fresh": True,
        "poll_date": "2024-07-01",
    }
    start = time.process_time()
    for _ in range(int(number)):
        out = io.BytesIO()
        schemaless_writer(out, parsed, record)
        out.getvalue()
    told("fastavro", (time.process_time() - start) / int(number))


def sling(mode: str, path: str, url: str) -> None:
    command = ["sling", "run", "--src-stream", f"file://{path}", "--tgt-conn", url]
    command += ["--src-options", json.dumps({"null_if": "NULL"})]
    command += ["--tgt-object", "public.by_sling", "--primary-key", KEY]
    command += ["--mode", "full-refresh" if mode == "load" else "incremental"]
    command[0] = os.path.join(os.path.dirname(sys.executable), "sling")
    start = time.perf_counter()
    ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if ended.returncode:
        sys.exit(ended.stdout[-2000:])
    told("sling", time.perf_counter() - start)


def dlt(mode: str, path: str, url: str) -> None:
    """The fastest of its ways that we know: columns of Arrow, and CSV into `COPY`."""
    start = time.perf_counter()
    import dlt
    import pyarrow as pa
    from pyarrow import csv

    convert = csv.ConvertOptions(
        column_types={
            "order_id": pa.int64(),
            "strategy_id": pa.int32(),
            "symbol": pa.string(),
            "side": pa.string(),
            "quantity": pa.decimal128(18, 4),
            "price": pa.decimal128(18, 6),
            "is_live": pa.bool_(),
            "placed_at": pa.timestamp("us"),
            "remark": pa.string(),
            "event_id": pa.int64(),
        },
        null_values=["NULL"],
        strings_can_be_null=True,
    )

    @dlt.resource(name="by_dlt", primary_key=KEY)
    def rows():
        yield from map(pa.Table.from_batches, ([batch] for batch in csv.open_csv(path, convert_options=convert)))

    with tempfile.TemporaryDirectory() as folder:
        pipeline = dlt.pipeline(
            "speed", pipelines_dir=folder, dataset_name="dlt", destination=dlt.destinations.postgres(url)
        )
        disposition = "replace" if mode == "load" else {"disposition": "merge", "strategy": "upsert"}
        pipeline.run(rows(), write_disposition=disposition, loader_file_format="csv")
    told("dlt", time.perf_counter() - start)


if __name__ == "__main__":
    os.environ.update(
        RUNTIME__DLTHUB_TELEMETRY="false",
        RUNTIME__LOG_LEVEL="ERROR",
        SLING_DISABLE_TELEMETRY="true",
        HTTP_PROXY="http://127.0.0.1:9",
        HTTPS_PROXY="http://127.0.0.1:9",
    )
    {"bcrypt": bcrypt, "fastavro": fastavro, "sling": sling, "dlt": dlt}[sys.argv[1]](*sys.argv[2:])
