#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Known answers for keying `bundle` (docs/keying.md), worked out without any of Twofold's code: P-384 on Python's integers,
hashlib and hmac. Prints keying_vectors.h.

    python3 tests/unit/vectors/keying_vectors.py >tests/unit/vectors/keying_vectors.h
"""

import hashlib
import hmac
import ipaddress
import struct

# NIST SP 800-186, P-384.
P = 2**384 - 2**128 - 2**96 + 2**32 - 1
B = 0xB3312FA7E23EE7E4988E056BE3F82D19181D9C6EFE8141120314088F5013875AC656398D8A2ED19D2A85C8EDD3EC2AEF
N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973
G = (
    0xAA87CA22BE8B05378EB1C71EF320AD746E1D3B628BA79B9859F741E082542A385502F25DBF55296C3A545E3872760AB7,
    0x3617DE4A96262C6F5D9E98BF9292DC29F8F41DBD289A147CE9DA3113B5F0B8C00A60B1CE1D7E819D7A431D7C90EA0E5F,
)


def add(a, b):
    if a is None or b is None:
        return a or b
    if a[0] == b[0]:
        if (a[1] + b[1]) % P == 0:
            return None
        slope = (3 * a[0] * a[0] - 3) * pow(2 * a[1], -1, P)
    else:
        slope = (b[1] - a[1]) * pow(b[0] - a[0], -1, P)
    x = (slope * slope - a[0] - b[0]) % P
    return x, (slope * (a[0] - x) - a[1]) % P


def multiply(scalar, point):
    result = None
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point = add(point, point)
        scalar >>= 1
    return result


def encode(point):
    return b"\x04" + point[0].to_bytes(48, "big") + point[1].to_bytes(48, "big")


def sha384(data):
    return hashlib.sha384(data).digest()


def mac(key, data):
    return hmac.new(key, data, hashlib.sha384).digest()


def expand(prk, info, length):
    out, block, n = b"", b"", 1
    while len(out) < length:
        block = mac(prk, block + info + bytes([n]))
        out += block
        n += 1
    return out[:length]


def scalar_of(text):
    return int.from_bytes(sha384(text.encode()), "big") % (N - 1) + 1


class Host:
    def __init__(self, name, slot, epoch, addresses):
        self.name, self.slot, self.epoch = name, slot, epoch
        self.addresses = [ipaddress.ip_address(a).packed for a in addresses]
        self.scalar = scalar_of("scalar of " + name)
        self.point = multiply(self.scalar, G)
        self.nonce = sha384(b"nonce of " + name.encode())[:32]
        self.blob = (
            b"Twofold-bundle-v1\0"
            + struct.pack(">HB", 1, len(name))
            + name.encode()
            + sha384(b"signer of " + name.encode())
            + struct.pack(">QI", epoch, slot)
            + encode(self.point)
            + self.nonce
            + struct.pack(">QQ", 1780000000, 1780007200)
        )


def spi(sender, receiver):
    return sender.slot << 12 | (receiver.epoch & 63) << 6 | (sender.epoch & 63)


def piece(data):
    return struct.pack(">Q", len(data)) + data


def short(data):
    return bytes([len(data)]) + data


def pair(low, high):
    """Everything about the pair; `low` has the lower name."""
    assert low.name < high.name
    z = multiply(low.scalar, high.point)
    assert z == multiply(high.scalar, low.point)
    z = z[0].to_bytes(48, "big")
    t = sha384(piece(b"Twofold-pair-v1\0") + piece(struct.pack(">H", 1)) + piece(low.blob) + piece(high.blob))
    prk = mac(low.nonce + high.nonce, z)
    out = {"transcript": t}
    for direction, (sender, receiver) in enumerate([(low, high), (high, low)]):
        way = ["low_to_high", "high_to_low"][direction]
        for source, destination in zip(sender.addresses, receiver.addresses):
            info = b"esp" + bytes([direction]) + struct.pack(">II", spi(sender, receiver), 0)
            info += short(source) + short(destination) + t
            out[f"{way}_v{4 if len(source) == 4 else 6}"] = expand(prk, info, 36)
        confirm = expand(prk, b"conf" + bytes([direction]) + t, 48)
        said = t + struct.pack(">II", spi(low, high), spi(high, low))
        for a, b in zip(low.addresses, high.addresses):
            said += short(a) + short(b)
        for word in ("ack", "done"):
            out[f"{way}_{word}"] = mac(confirm, word.encode() + said)
    return out


def c_bytes(name, data):
    lines = [data[i : i + 16] for i in range(0, len(data), 16)]
    body = "\n".join("    " + " ".join(f"0x{x:02x}," for x in line) for line in lines)
    print(f"static const uint8_t {name}[] = {{\n{body}\n}};")


def main():
    assert multiply(N, G) is None and (G[1] ** 2 - G[0] ** 3 + 3 * G[0] - B) % P == 0
    low = Host("api", 0x0000A, (1780000000 << 20) + 77, ["192.0.2.10", "2001:db8::10"])
    high = Host("web", 0xFFFFF, (1780000100 << 20) + 130, ["192.0.2.20", "2001:db8::20"])
    print("// SPDX-License-Identifier: GPL-2.0-or-later")
    print("// Made by keying_vectors.py; do not edit.")
    print("#ifndef TWOFOLD_TESTS_UNIT_VECTORS_KEYING_VECTORS_H")
    print("#define TWOFOLD_TESTS_UNIT_VECTORS_KEYING_VECTORS_H\n")
    print("#include <stdint.h>\n")
    for side, host in (("low", low), ("high", high)):
        c_bytes(f"vector_{side}_scalar", host.scalar.to_bytes(48, "big"))
        c_bytes(f"vector_{side}_blob", host.blob)
    print(f"#define VECTOR_LOW_TO_HIGH_SPI UINT32_C(0x{spi(low, high):08x})")
    print(f"#define VECTOR_HIGH_TO_LOW_SPI UINT32_C(0x{spi(high, low):08x})")
    for name, data in pair(low, high).items():
        c_bytes(f"vector_{name}", data)
    print("\n#endif")


main()
