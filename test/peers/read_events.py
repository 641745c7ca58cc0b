"""Reads a run's event files with TensorBoard's own reader and compares them with what they should hold.

    python read_events.py FOLDER EXPECTED.json

Needs the package tensorboard. EXPECTED.json has any of:

    {"scalars": {"train/ce": [[1, 5.5], [2, 5.1]]},                 step and value of every event, in order
     "audio":   {"generate/ID": [{"step": 1, "sample_rate": 16000, "channels": 1, "frames": 64000, "seconds": 4.0}]},
     "images":  {"generate/ID/spectrogram": [{"step": 1, "width": 400, "height": 256}]},
     "texts":   {"generate/ID/description": [[1, "description: piano"]]}}

A tag may be a pattern (`*`), which must match exactly one tag. Values of scalars agree to float32. Sounds must be WAV files of that
rate and length, and pictures PNG files of that size, by their own headers. Prints a line per tag; the exit code is 1 when one is wrong.
`--list` in place of EXPECTED.json prints what there is, in that form.
"""
import io
import json
import struct
import sys
import wave
from fnmatch import fnmatchcase

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

KINDS = {"scalars": "scalars", "audio": "audio", "images": "images", "texts": "tensors"}


def read_scalars(events, tag):
    return [[event.step, event.value] for event in events.Scalars(tag)]


def read_audio(events, tag):
    found = []
    for event in events.Audio(tag):
        with wave.open(io.BytesIO(event.encoded_audio_string)) as sound:
            rate, channels, frames = sound.getframerate(), sound.getnchannels(), sound.getnframes()
        assert event.content_type == "audio/wav", event.content_type
        assert (event.sample_rate, event.length_frames) == (rate, frames), "the event and its WAV file differ"
        found.append({"step": event.step, "sample_rate": rate, "channels": channels, "frames": frames,
                      "seconds": frames / rate})
    return found


def read_images(events, tag):
    found = []
    for event in events.Images(tag):
        png = event.encoded_image_string
        assert png[:8] == b"\x89PNG\r\n\x1a\n", "not a PNG file"
        width, height = struct.unpack(">II", png[16:24])
        assert (event.width, event.height) == (width, height), "the event and its PNG file differ"
        found.append({"step": event.step, "width": width, "height": height})
    return found


def read_texts(events, tag):
    assert events.SummaryMetadata(tag).plugin_data.plugin_name == "text", "not for the page of texts"
    arrays = [(event.step, tensor_util.make_ndarray(event.tensor_proto)) for event in events.Tensors(tag)]
    return [[step, array.reshape(-1)[0].decode()] for step, array in arrays]


READERS = {"scalars": read_scalars, "audio": read_audio, "images": read_images, "texts": read_texts}


def same(expected, found):
    """Equal, numbers to float32; of a mapping, what is expected."""
    if isinstance(expected, dict):
        return isinstance(found, dict) and all(key in found and same(value, found[key]) for key, value in expected.items())
    if isinstance(expected, list):
        return isinstance(found, list) and len(expected) == len(found) and all(map(same, expected, found))
    if isinstance(expected, float):
        return isinstance(found, (int, float)) and abs(found - expected) <= 1e-6 * max(1e-3, abs(expected))
    return expected == found


def main(folder, expectations):
    events = EventAccumulator(folder, size_guidance={kind: 0 for kind in KINDS.values()})
    events.Reload()
    tags = {kind: events.Tags()[name] for kind, name in KINDS.items()}
    tags["texts"] = [tag for tag in tags["texts"] if events.SummaryMetadata(tag).plugin_data.plugin_name == "text"]
    if expectations == "--list":
        print(json.dumps({kind: {tag: READERS[kind](events, tag) for tag in names} for kind, names in tags.items()}, indent=1))
        return 0
    failed = False
    with open(expectations) as file:
        expected = json.load(file)
    for kind, values in expected.items():
        for pattern, value in values.items():
            matching = [tag for tag in tags[kind] if tag == pattern or fnmatchcase(tag, pattern)]
            try:
                assert len(matching) == 1, f"{len(matching)} tags of {len(tags[kind])}"
                found = READERS[kind](events, matching[0])
                assert same(value, found), f"expected {json.dumps(value)}\n     found    {json.dumps(found)}"
                print(f"ok   {kind} {pattern}: {len(found)} events")
            except Exception as error:
                failed = True
                print(f"FAIL {kind} {pattern}: {error}")
    if not any(expected.values()):
        failed = True
        print("FAIL nothing was expected")
    return 1 if failed else 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
