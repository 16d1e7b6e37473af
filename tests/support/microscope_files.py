"""Files of microscopes, written by hand as their public descriptions have them."""

from __future__ import annotations

import struct

import numpy as np

PIXEL_TYPES = {"u1": 0, "u2": 1, "f4": 2, "bgr": 3}


def write_lif(path, images, *, times=None, lookup=("Green", "Red")):
    """Write arrays t, c, z, y, x to a LIF file, by name; pixels of 0.25 x 0.5 x 2 um, 3 s apart."""
    elements, blocks = "", b""
    for number, (name, array) in enumerate(images.items()):
        _, count, _, height, width = array.shape
        size, plane = array.itemsize, array.itemsize * height * width
        planes = plane * count
        sides = [
            (1, width, size, 0.25e-6, "m"),
            (2, height, size * width, 0.5e-6, "m"),
            (3, array.shape[2], planes, 2e-6, "m"),
            (4, array.shape[0], planes * array.shape[2], 3.0, "s"),
        ]
        channels = "".join(
            f'<ChannelDescription DataType="0" ChannelTag="0" Resolution="{size * 8}" '
            f'NameOfMeasuredQuantity="" Min="0" Max="1" Unit="" LUTName="{lookup[channel]}" '
            f'IsLUTInverted="0" BytesInc="{channel * plane}" BitInc="0"/>'
            for channel in range(count)
        )
        dimensions = "".join(
            f'<DimensionDescription DimID="{axis}" NumberOfElements="{n}" Origin="0" '
            f'Length="{(n - 1) * step}" Unit="{unit}" BitInc="0" BytesInc="{every}"/>'
            for axis, n, every, step, unit in sides
            if n > 1
        )
        ticks = [116444736000000000 + round(1e7 * (1e9 + second)) for second in times or ()]
        stamps = f"<TimeStampList>{' '.join(f'{tick:x}' for tick in ticks)}</TimeStampList>"
        elements += (
            f'<Element Name="{name}" UniqueID="{number}"><Data><Image><ImageDescription>'
            f"<Channels>{channels}</Channels><Dimensions>{dimensions}</Dimensions>"
            f"</ImageDescription>{stamps if ticks else ''}</Image></Data>"
            f'<Memory Size="{array.nbytes}" MemoryBlockID="MemBlock_{number}"/></Element>'
        )
        label = f"MemBlock_{number}".encode("utf-16-le")
        head = (0x70, len(label) + 14, 0x2A, array.nbytes, 0x2A, len(label) // 2)
        stored = array.transpose(0, 2, 1, 3, 4)  # t, z, c, y, x
        blocks += struct.pack("<IIBQBI", *head) + label + stored.tobytes()
    xml = (
        f'<LMSDataContainerHeader Version="2"><Element Name="file"><Children>{elements}'
        "</Children></Element></LMSDataContainerHeader>"
    ).encode("utf-16-le")
    path.write_bytes(struct.pack("<IIBI", 0x70, len(xml) + 5, 0x2A, len(xml) // 2) + xml + blocks)
    return str(path)


class CziWriter:
    """A CZI file that is written segment by segment: tiles, then what lists them."""

    def __init__(self):
        self.content = bytearray(32 + 512)
        self.entries = []

    def add(self, name, data):
        """Add a segment and return where it lies."""
        place, size = len(self.content), -(-len(data) // 32) * 32
        self.content += struct.pack("<16sqq", name, size, len(data)) + data.ljust(size, b"\0")
        return place

    def add_tile(self, pixels, place, stored=None, pack=None):
        """Add a tile of y, x or y, x, colour; `place` by letters of axes, in pixels and numbers.

        `pack`: number of a compression, and what makes of pixels the bytes that are stored.
        """
        height, width = pixels.shape[:2]
        sizes = {"X": width, "Y": height}
        if stored is not None:  # a level of a pyramid: of so many pixels
            sizes = {"X": stored[1], "Y": stored[0]}
        dimensions = b"".join(
            struct.pack("<4siifi", axis.encode(), start, sizes.get(axis, 1), 0.0,
                        {"X": width, "Y": height}.get(axis, 1))
            for axis, start in place.items()
        )  # fmt: skip
        kind = "bgr" if pixels.ndim == 3 else pixels.dtype.str[1:]
        pixels = pixels[..., ::-1] if pixels.ndim == 3 else pixels
        packing, level = pack[0] if pack else 0, 0 if stored is None else 2
        head = (b"DV", PIXEL_TYPES[kind], len(self.content), 0, packing, level, 0, bytes(4))
        entry = struct.pack("<2siqiiBB4si", *head, len(place)) + dimensions
        self.entries.append(entry)
        content = pack[1](pixels) if pack else np.ascontiguousarray(pixels).tobytes()
        head = struct.pack("<iiq", 0, 0, len(content)) + entry.ljust(240, b"\0")
        self.add(b"ZISRAWSUBBLOCK", head + content)

    def save(self, path, *, times=(), channels=(), sizes=(0.25, 0.5, 2)):
        """Write the file; pixel sizes along x, y, z in micrometers."""
        distances = "".join(
            f'<Distance Id="{axis}"><Value>{size * 1e-6}</Value></Distance>'
            for axis, size in zip("XYZ", sizes, strict=False)
        )
        names = "".join(f'<Channel Id="Channel:0" Name="{name}"/>' for name in channels)
        xml = (
            "<ImageDocument><Metadata><Information><Image><Dimensions><Channels>"
            f"{names}</Channels></Dimensions></Image></Information><Scaling><Items>{distances}"
            "</Items></Scaling></Metadata></ImageDocument>"
        ).encode()
        metadata = self.add(b"ZISRAWMETADATA", struct.pack("<ii248x", len(xml), 0) + xml)
        listed = self.add_times(times) if len(times) else 0
        count = len(self.entries)
        directory = self.add(
            b"ZISRAWDIRECTORY", struct.pack("<i124x", count) + b"".join(self.entries)
        )
        header = struct.pack("<iiii16s16siqqiq", 1, 0, 0, 0, b"f" * 16, b"f" * 16, 0, directory,
                             metadata, 0, listed)  # fmt: skip
        self.content[:544] = struct.pack("<16sqq", b"ZISRAWFILE", 512, 512) + header.ljust(
            512, b"\0"
        )
        path.write_bytes(self.content)
        return str(path)

    def add_times(self, times):
        """Add an attachment with times, seconds, and the list of attachments; returns its place."""
        stamps = struct.pack(f"<ii{len(times)}d", 8 + 8 * len(times), len(times), *times)
        entry = struct.pack("<2s10xqi16s8s80s", b"A1", len(self.content), 0, b"g" * 16, b"CZTIMS",
                            b"TimeStamps")  # fmt: skip
        self.add(b"ZISRAWATTACH", struct.pack("<q8x", len(stamps)) + entry + bytes(112) + stamps)
        return self.add(b"ZISRAWATTDIR", struct.pack("<i252x", 1) + entry)


def write_czi(path, array, **keys):
    """Write an array t, c, z, y, x to a CZI file, a tile per plane."""
    writer = CziWriter()
    for t, c, z in np.ndindex(*array.shape[:3]):
        place = {"X": 0, "Y": 0, "C": c, "Z": z, "T": t, "S": 0}
        writer.add_tile(array[t, c, z], place)
    return writer.save(path, **keys)
