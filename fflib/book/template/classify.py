"""Print label and probability of each text: an argument or a line of stdin (UTF-8), its fields separated by tabs."""

import json
import os
import sys
from pathlib import Path

HERE, FILES = Path(__file__).resolve().parent, ("config.json", "tokenizer.json", "model.onnx")


def stop(sentence):
    """End with the exit code of bad input."""
    print(f"error: {sentence}", file=sys.stderr)
    sys.exit(2)


os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read as the next lines load it: else it tells of model and machine
try:
    import numpy as np
    import onnxruntime
    from tokenizers import Tokenizer
except ImportError as lacking:
    stop(f"{lacking}; install what is missing with: {sys.executable} -m pip install -r {HERE / 'requirements.txt'}")
if missing := [name for name in FILES if not (HERE / name).is_file()]:
    stop(f"{HERE} lacks {' and '.join(missing)}; copy the whole folder")
try:
    config = json.loads((HERE / "config.json").read_text(encoding="utf-8"))
    tokenizer = Tokenizer.from_file(str(HERE / "tokenizer.json"))  # cuts what is too long
    options = onnxruntime.SessionOptions()  # sequential as it comes: one operator after the other
    options.intra_op_num_threads = config["threads"]
    for entry in config["session"].items():
        options.add_session_config_entry(*entry)
    session = onnxruntime.InferenceSession(HERE / "model.onnx", options, providers=["CPUExecutionProvider"])
except Exception as damage:  # each library raises kinds of its own
    stop(f"{HERE} is damaged ({' '.join(str(damage).split())[:200]}); copy the whole folder again")


def unmarked(fields):
    """Take the asterisks off a word of each field, and return what is left and where each word stands."""
    parts = [field.split("*") for field in fields]
    if any(len(part) != 3 or not part[1] for part in parts):
        stop(f"mark one word of each field, as in a *word* of it, and use no other asterisk: {' | '.join(fields)[:80]}")
    return ["".join(part) for part in parts], [(len(part[0]), len(part[0]) + len(part[1])) for part in parts]


def inputs(fields, words=()):
    """Return what the model takes of one text: tokens of its first marked word have a type larger by 2, and so on."""
    tokens = tokenizer.encode(*fields)
    types = np.array(tokens.type_ids)
    for number, (start, end) in enumerate(words):
        places = zip(tokens.sequence_ids, tokens.offsets, strict=True)
        inside = [field == number and first < end and start < last for field, (first, last) in places]
        if not any(inside):
            stop(f"the marked word stands behind what is read of {fields[number][:60]!r}; shorten it")
        types[inside] += 2 * (number + 1)
    return {"input_ids": tokens.ids, "attention_mask": tokens.attention_mask, "token_type_ids": types}


def logits(fields, words=()):
    """Return the scores of one text, one a label."""
    arrays = inputs(fields, words)
    return session.run(None, {node.name: np.array([arrays[node.name]]) for node in session.get_inputs()})[0][0]


def asked():
    """Yield (number, text) of all arguments, or of all lines of stdin: UTF-8, whatever the terminal speaks."""
    for number, text in enumerate(sys.argv[1:] or sys.stdin.buffer, start=1):
        try:
            raw = text.encode() if isinstance(text, str) else text
            yield number, raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeError:
            stop(f"text {number} is not UTF-8; turn it into that first, as `iconv -f cp1252 -t utf-8` does")


def answer_all():
    """Answer each text as it comes, and at once."""
    for number, text in asked():
        line, wanted = text.rstrip("\r\n"), config["text_fields"]
        fields = line.split("\t")
        if len(fields) != len(wanted) or not all("".join(filter(str.isprintable, x)).strip() for x in fields):
            stop(f"text {number} ({line[:60]!r}) must be {'<tab>'.join(wanted)}, none of them empty")
        scores = logits(*(unmarked(fields) if config["words_marked"] else (fields,)))
        print(config["labels"][scores.argmax()], f"{1 / np.exp(scores - scores.max()).sum():.4f}", sep="\t", flush=True)


if __name__ == "__main__":
    if sys.argv[1:] in (["-h"], ["--help"]):
        sys.exit(print(f"{__doc__}\nThe fields here: {'<tab>'.join(config['text_fields'])}"))
    if sys.stdout is None or not (sys.argv[1:] or sys.stdin):
        stop("it needs a text, as an argument or on stdin, and an open stdout for the answer")
    sys.stdout.reconfigure(encoding="utf-8")
    try:
        answer_all()
    except BrokenPipeError:  # who reads has enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as failed:  # a full disk; what is left in the buffer could not be written either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        stop(f"texts cannot be read or answers not be written ({failed.strerror}); mend that and start again")
