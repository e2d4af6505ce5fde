"""Turns files of a spool into ones that a later version might have written: whole, their checksums right."""
import json
import struct

VERSION = 99


def _table():
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        yield byte


_CRC32C = tuple(_table())


def crc32c(data, crc=0):
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc = _CRC32C[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def later_segment(spool):
    path = next(path for path in sorted((spool / "journal").iterdir())
                if path.read_bytes()[:16] == b"POSTERN JOURNAL\n")
    data = bytearray(path.read_bytes())
    data[16:20] = struct.pack("<I", VERSION)
    data[508:512] = struct.pack("<I", crc32c(data[:508]))
    path.write_bytes(data)
    return f"journal/{path.name}"


def _change_row(data, key, at, number):
    """Puts the bytes `number` at `at` of each row that is stored under the key."""
    changed = 0
    found = data.find(key)
    while found >= 0:
        begin = found + len(key)
        size, = struct.unpack_from("<I", data, begin + 4)
        value = data[begin + 4:begin + 8 + size]
        seed = crc32c(key, crc32c(bytes([len(key)])))
        if size < 100 and data[begin:begin + 4] == struct.pack("<I", crc32c(value, seed)):
            data[begin + 8 + at:begin + 8 + at + len(number)] = number
            crc = crc32c(data[begin + 4:begin + 8 + size], seed)
            data[begin:begin + 4] = struct.pack("<I", crc)
            changed += 1
        found = data.find(key, begin)
    assert changed, f"the index has no row {key}"


def later_index(spool):
    data = bytearray((spool / "index").read_bytes())
    _change_row(data, b"\0format", 8, struct.pack("<I", VERSION))
    (spool / "index").write_bytes(data)
    return "index"


def later_rows(spool):
    data = bytearray((spool / "index").read_bytes())
    _change_row(data, b"\0mark", 8, struct.pack("<H", VERSION))  # behind a transaction's number
    (spool / "index").write_bytes(data)
    return "index"


def later_control(spool):
    path = spool / "control.json"
    blocks = json.loads(path.read_text())["blocks"]
    text = json.dumps(blocks, separators=(",", ":"), sort_keys=True)
    path.write_text(json.dumps({"v": VERSION, "sum": f"{crc32c(f'{text} {VERSION}'.encode()):08x}",
                                "blocks": blocks}))
    return "control.json"


def later_recovering(spool):
    (spool / "recovering").write_text(f"POSTERN RECOVERING {VERSION}\nfailed 0\n")
    return "recovering"


def later_history(spool):
    path, = (spool / "history").iterdir()
    data = path.read_bytes()
    path.write_bytes(f"postern history {VERSION}\n".encode() + data[data.index(b"\n") + 1:])
    return f"history/{path.name}"


LATER = {"segment": later_segment, "index": later_index, "rows of the index": later_rows,
         "control.json": later_control, "recovering": later_recovering, "history": later_history}


def later_export(file):
    data = bytearray(file.read_bytes())
    data[15:19] = struct.pack("<I", VERSION)
    data[19:23] = struct.pack("<I", crc32c(data[:19]))
    file.write_bytes(data)
    return file
