"""Makes the Parquet files of this folder, as the Hugging Face hub keeps audio. Needs pyarrow."""
import io
import wave
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

here = Path(__file__).parent


def tone(frames: int) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(1000)
        out.writeframes(bytes(2 * frames))
    return file.getvalue()


table = pa.table(
    {
        "audio": [{"bytes": tone(100), "path": "deep/first.wav"}, {"bytes": tone(250), "path": None}],
        "text": ["The first", "Überall Töne"],
        "tags": [["slow", "very sad"], []],
        "bpm": pa.array([120, None], pa.int64()),
        "weight": [0.5, 2.0],
    }
)
for compression in ["snappy", "gzip", "brotli"]:
    pq.write_table(table, here / f"{compression}.parquet", compression=compression, row_group_size=1)
