"""torch's zip format (since 1.6): `NAME/data.pkl` and one uncompressed entry per storage, `NAME/data/KEY`.

The zip directory is data from a stranger too: names that leave the archive, compressed, encrypted, repeated or
overlapping entries are refused before anything is read.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

from zoo.checkpoint.formats.contents import Contents, Span, torch_storage
from zoo.checkpoint.pickle_reader import limits
from zoo.checkpoint.pickle_reader.reader import read_pickle
from zoo.checkpoint.pickle_reader.values import StorageRef
from zoo.errors import CorruptCheckpoint, UnsafeCheckpoint

LOCAL_HEADER = struct.Struct("<4sHHHHHIIIHH")


def open_zip(path: Path, file: BinaryIO, size: int) -> Contents:
    """Open a zip file. Raises UnsafeCheckpoint, CorruptCheckpoint."""
    entries = directory(file, size)
    name = pickle_name(entries)
    prefix = name.removesuffix("data.pkl")
    check_byte_order(file, entries.get(prefix + "byteorder"))
    pickle = content(file, entries[name])
    storages: dict[str, StorageRef] = {}
    stream = io.BytesIO(pickle)
    root = read_pickle(stream, len(pickle), lambda identity: torch_storage(identity, storages))
    if stream.tell() != len(pickle):
        raise CorruptCheckpoint("has a second pickle behind the first")
    return Contents(path, "torch (zip)", root, {key: locate(entries, prefix, storages[key]) for key in storages})


def locate(entries: dict[str, Span], prefix: str, storage: StorageRef) -> Span:
    """The entry that holds a storage. Raises CorruptCheckpoint."""
    span = entries.get(f"{prefix}data/{storage.key}")
    if span is None:
        raise CorruptCheckpoint(f"lacks the data of storage {storage.key[:40]}")
    if span.nbytes != storage.nbytes:
        raise CorruptCheckpoint(f"stores {span.nbytes} bytes where a tensor of {storage.nbytes} belongs")
    return span


def directory(file: BinaryIO, size: int) -> dict[str, Span]:
    """Every entry of the archive by name. Raises UnsafeCheckpoint, CorruptCheckpoint."""
    try:
        archive = zipfile.ZipFile(Bounded(file))  # type: ignore[arg-type]
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError, struct.error) as error:
        raise CorruptCheckpoint(f"is a broken zip archive ({error}); it may be truncated") from None
    infos = archive.infolist()
    if len(infos) > limits.MAX_ZIP_ENTRIES:
        raise CorruptCheckpoint(f"is a zip archive of {len(infos):,} entries")
    entries: dict[str, Span] = {}
    for info in infos:
        check_entry(info, entries)
        entries[info.filename] = data_span(file, info, size)
    check_overlap([info.header_offset for info in infos], list(entries.values()), archive.start_dir)
    return entries


class Bounded:
    """The file as `zipfile` sees it: a directory of millions of entries is not even read."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.seek, self.tell = file, file.seek, file.tell

    def read(self, count: int = -1) -> bytes:
        """Some bytes. Raises CorruptCheckpoint when too many are asked for at once."""
        if count > limits.MAX_DIRECTORY_BYTES:
            raise CorruptCheckpoint(f"is a zip archive with a directory of {count:,} bytes")
        return self.file.read(count if count >= 0 else limits.MAX_DIRECTORY_BYTES)


def check_entry(info: zipfile.ZipInfo, seen: dict[str, Span]) -> None:
    """Names stay inside the archive and are unique; contents are stored as they are."""
    name = info.orig_filename
    if name != info.filename or "\\" in name or name.startswith("/") or ".." in name.split("/") or ":" in name:
        raise UnsafeCheckpoint(f"is a zip archive with the entry {name[:80]!r}, which leaves the archive")
    if name in seen:
        raise UnsafeCheckpoint(f"is a zip archive with two entries {name[:80]!r}")
    if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size or info.flag_bits & 1:
        raise UnsafeCheckpoint(f"has a compressed or encrypted zip entry {name[:80]!r}; torch writes neither")


def data_span(file: BinaryIO, info: zipfile.ZipInfo, size: int) -> Span:
    """Where an entry's bytes are, behind its local header (whose extra field pads them to 64 bytes)."""
    if not 0 <= info.header_offset < size:
        raise CorruptCheckpoint("is a zip archive whose directory points outside it; it may be truncated")
    file.seek(info.header_offset)
    raw = file.read(LOCAL_HEADER.size)
    if len(raw) < LOCAL_HEADER.size or raw[:4] != b"PK\x03\x04":
        raise CorruptCheckpoint("is a zip archive whose directory points at no entry; it may be truncated")
    _, _, _, method, *_, name_length, extra_length = LOCAL_HEADER.unpack(raw)
    if method != zipfile.ZIP_STORED or file.read(name_length) != info.orig_filename.encode("utf-8", "surrogateescape"):
        raise UnsafeCheckpoint("is a zip archive whose directory and entries disagree on names or compression")
    offset = info.header_offset + LOCAL_HEADER.size + name_length + extra_length
    if offset + info.file_size > size:
        raise CorruptCheckpoint("is truncated: a zip entry reaches beyond its end")
    return Span(offset, info.file_size, info.CRC)


def check_overlap(headers: list[int], spans: list[Span], directory: int) -> None:
    """Entries that share bytes, with each other or with the directory, are how zip bombs and smuggled data work."""
    end = 0
    for header, span in sorted(zip(headers, spans), key=lambda pair: pair[0]):
        if header < end:
            raise UnsafeCheckpoint("is a zip archive with overlapping entries")
        end = span.offset + span.nbytes
    if end > directory:
        raise UnsafeCheckpoint("is a zip archive whose entries overlap its directory")


def pickle_name(entries: dict[str, Span]) -> str:
    """The name of the one `data.pkl`; a TorchScript program has one too, and code beside it."""
    names = [name for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")]
    if any("/code/" in name or name.endswith("/constants.pkl") for name in entries):
        raise UnsafeCheckpoint("is a TorchScript program, not a checkpoint")
    if len(names) != 1:
        raise CorruptCheckpoint(f"is a zip archive with {len(names)} entries NAME/data.pkl; a checkpoint has one")
    if entries[names[0]].nbytes > limits.MAX_PICKLE_BYTES:
        raise CorruptCheckpoint(f"holds a pickle of {entries[names[0]].nbytes:,} bytes")
    return names[0]


def content(file: BinaryIO, span: Span) -> bytes:
    """An entry's bytes, checked. Raises CorruptCheckpoint."""
    file.seek(span.offset)
    data = file.read(span.nbytes)
    if len(data) != span.nbytes or zlib.crc32(data) != span.crc:
        raise CorruptCheckpoint("has a damaged zip entry: its CRC-32 is another")
    return data


def check_byte_order(file: BinaryIO, span: Span | None) -> None:
    """Only little-endian files are read: no other were published. Raises CorruptCheckpoint."""
    if span is not None and (span.nbytes != 6 or content(file, span) != b"little"):
        raise CorruptCheckpoint("does not say that it was written on a little-endian machine")
