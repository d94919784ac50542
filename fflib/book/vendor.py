"""Front-end files of other people: pinned here, fetched from npm at set-up, read from the cache ever after.

python -m fflib.book.vendor        fetches what the cache lacks; needs npm and a network

The slides and the book's page "try it" are made of them. Nothing else needs them, so nothing else fails without them.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from fflib import files
from fflib.files import InputError

REVEAL, ONNXRUNTIME, TOKENIZERS = "reveal.js", "onnxruntime-web", "@huggingface/tokenizers"
FONTS = "dist/theme/fonts/source-sans-pro"  # of reveal.js; SIL Open Font License
SEMIBOLD = f"{FONTS}/source-sans-pro-semibold.woff"
TIME_LIMIT_S = 300
COMMAND = "python -m fflib.book.vendor"
# npm would try for minutes where there is no network.
NPM_OPTIONS = ["--loglevel=error", "--ignore-scripts", "--fetch-retries=1", "--fetch-retry-mintimeout=1000"]


class Pin(NamedTuple):
    """A package in one version: its licence, and the SHA-256 of each file that is taken from it."""

    version: str
    licence: str
    sha256: Mapping[str, str]


PINS = {
    REVEAL: Pin(  # its notes window is inside notes.js
        "5.2.1",
        "MIT",
        {
            "LICENSE": "34014800f4126ac2525e224166f099f26628612e95c41f76d70841b63138c989",
            "dist/reveal.js": "46538b52db48724192f59bf46f5e851a18e302777c46f4a34c32709d010d6a29",
            "dist/reveal.css": "68f915a11ebf7203c0446576b7e952ff61c5dd02134a8a226ffaf62ed42136d2",
            "dist/reset.css": "1aa8e84c9cabcbfe4d95b19879fe48b9c2c5e6d54574cbe679bc22edb9fe12b6",
            "plugin/notes/notes.js": "df1201d19d03241a2897d39c3d38768177df1cbd4bde06327b321cb83461ae89",
            f"{FONTS}/LICENSE": "bb5f5f9b59ff3ab358efed2c5436e8aa2e12444959c4bde82167b874d5db1b1c",
            f"{FONTS}/source-sans-pro-regular.woff": "d4eaa48ba450f4dd2d024ab5b0e895c73c81475718e5453fd1890254c16b7a57",
            f"{FONTS}/source-sans-pro-italic.woff": "05d3615fdbe7d35c62d6a1308dc48e3985016b69e65926ed37b99fe7e6b297dc",
            SEMIBOLD: "b0abd2736335424f9fd3eb27974a36d03783b3db141e0801dca7d3a635218b46",
        },
    ),
    ONNXRUNTIME: Pin(  # the package has no file of its licence: package.json names it
        "1.30.0",
        "MIT",
        {
            "package.json": "16f69f755509990539aeb1c8445884960e91adcacab2e8dca8e44ee43601df5c",
            "dist/ort.wasm.min.js": "faece07e84faa9001f5104bbe4e5c70861d06cb2376a0dea1fa0ad33a67adc81",
            "dist/ort-wasm-simd-threaded.mjs": "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b",
            "dist/ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
        },
    ),
    TOKENIZERS: Pin(
        "0.2.0",
        "Apache-2.0",
        {
            "LICENSE": "c71d239df91726fc519c6eb72d318ec65820627232b2f796219e87dcf35d0ab4",
            "dist/tokenizers.min.mjs": "258e46332101335ce8d95aed7745b19ac3b46d37f3e159a89cf894c2ea9b1d3a",
        },
    ),
}


def file(package: str, path: str) -> Path:
    """Return where the file ``path`` of ``package`` lies in the cache; the network is never asked.

    Raises:
        InputError: no such file is pinned, it was not fetched, or it is not what was pinned.
    """
    files.check_known("package", [package], PINS)
    files.check_known(f"file of {package}", [path], PINS[package].sha256)
    if not _is_whole(package, path):
        raise InputError(f"{path} of {package} is not here; fetch it with {COMMAND} where npm and a network are")
    return _folder(package) / path


def there(package: str) -> bool:
    """Return whether every pinned file of ``package`` is in the cache, and is what was pinned."""
    files.check_known("package", [package], PINS)
    return all(_is_whole(package, path) for path in PINS[package].sha256)


def fetch(package: str) -> bool:
    """Bring the pinned files of ``package`` into the cache, all of them or none; return False if they were there.

    Raises:
        InputError: npm is missing or cannot get the package, or a file is not what was pinned.
    """
    if there(package):
        return False
    pin, npm = PINS[package], shutil.which("npm")
    if npm is None:
        raise InputError(f"npm is not here, which fetches {package}: install Node.js, then call {COMMAND}")
    with tempfile.TemporaryDirectory() as scratch, files.swapped_in(_folder(package)) as folder:
        archive = _packed(npm, f"{package}@{pin.version}", Path(scratch))
        for path, sha256 in pin.sha256.items():
            content = _member(archive, path)
            if content is None or hashlib.sha256(content).hexdigest() != sha256:
                raise InputError(
                    f"{path} of {package} {pin.version} is not the file that is pinned in fflib/book/vendor.py"
                )
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
    return True


def _folder(package: str) -> Path:
    """Name the version too, so that a new pin does not find an old file."""
    return files.cache_dir("vendor") / f"{package.strip('@').replace('/', '-')}-{PINS[package].version}"


def _is_whole(package: str, path: str) -> bool:
    try:
        content = (_folder(package) / path).read_bytes()
    except OSError:
        return False
    return hashlib.sha256(content).hexdigest() == PINS[package].sha256[path]


def _packed(npm: str, wanted: str, scratch: Path) -> Path:
    """Let npm download ``wanted`` (name@version) and return its archive. What npm says is told only if it fails."""
    command = [npm, "pack", wanted, "--pack-destination", str(scratch), *NPM_OPTIONS]
    try:
        done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, timeout=TIME_LIMIT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(f"npm could not fetch {wanted} ({type(error).__name__}); try {COMMAND} again") from error
    archives = list(scratch.glob("*.tgz"))
    if done.returncode or len(archives) != 1:
        print(done.stdout + done.stderr, file=sys.stderr)
        raise InputError(f"npm could not fetch {wanted}, see above; check the network and call {COMMAND}")
    return archives[0]


def _member(archive: Path, path: str) -> bytes | None:
    """Return a file out of an npm archive, None where it has no such file; nothing is unpacked by its own name."""
    try:
        with tarfile.open(archive) as packed:
            member = packed.extractfile(f"package/{path}")
            return member.read() if member else None
    except (KeyError, tarfile.TarError, EOFError, OSError):
        return None


def main(arguments: list[str] | None = None) -> int:
    """Fetch what is missing; what fails is one sentence on stderr and status 2."""
    argparse.ArgumentParser(prog=COMMAND, description=(__doc__ or "").splitlines()[0]).parse_args(arguments)
    try:
        for package in PINS:
            if fetch(package):
                print(f"fetched {package} {PINS[package].version} from npm")
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
