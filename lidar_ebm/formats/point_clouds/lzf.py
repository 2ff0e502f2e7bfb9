"""LibLZF's stream, which compressed PCD files hold.

A control byte below 32 announces that many literal bytes and one; any other holds a length in its upper three bits (7:
the next byte adds to it) and, with the next byte, the distance back to what is repeated.
"""

from __future__ import annotations

LARGEST_RATIO = 88  # three bytes of a stream stand for 264 at most
_SHORTEST_MATCH, _LONGEST_MATCH = 3, 264
_FARTHEST_MATCH = 8192
_LONGEST_LITERAL = 32


def decompress_lzf(data: bytes, size: int) -> bytearray:
    """Unpack a stream of `size` unpacked bytes; never holds more than 264 bytes beyond that.

    Raises:
        ValueError: the stream is cut short, damaged, or of another size.
    """
    output = bytearray()
    at, end, filled = 0, len(data), 0
    try:
        while at < end and filled <= size:
            control = data[at]
            if control < 32:
                if at + control + 2 > end:
                    raise IndexError
                output += data[at + 1 : at + control + 2]
                at += control + 2
                filled += control + 1
                continue
            length = (control >> 5) + 2
            if length == 9:
                at += 1
                length += data[at]
            distance = ((control & 31) << 8 | data[at + 1]) + 1
            at += 2
            begin = filled - distance
            if begin < 0:
                raise ValueError("the compressed stream is damaged")
            if length <= distance:
                output += output[begin : begin + length]
            else:
                output += (output[begin:] * (length // distance + 1))[:length]
            filled += length
    except IndexError as error:
        raise ValueError("the compressed stream is cut short") from error
    if filled != size:
        raise ValueError(f"the compressed stream holds {filled} bytes instead of {size}")
    return output


def compress_lzf(data: bytes) -> bytes:
    """Pack bytes into a stream that repeats the last place where the same three bytes stood."""
    output = bytearray()
    places: dict[bytes, int] = {}
    literal = at = 0  # data[literal:at] is yet to be written
    while at < len(data):
        key = data[at : at + _SHORTEST_MATCH]
        place = places.get(key, -1)
        places[key] = at
        if place < 0 or at - place > _FARTHEST_MATCH or len(key) < _SHORTEST_MATCH:
            at += 1
            continue
        length = _SHORTEST_MATCH
        longest = min(_LONGEST_MATCH, len(data) - at)
        while length < longest and data[place + length] == data[at + length]:
            length += 1
        _append_literal(output, data[literal:at])
        distance = at - place - 1
        output.append(min(length - 2, 7) << 5 | distance >> 8)
        if length >= 9:
            output.append(length - 9)
        output.append(distance & 255)
        at += length
        literal = at
    _append_literal(output, data[literal:])
    return bytes(output)


def _append_literal(output: bytearray, data: bytes) -> None:
    for start in range(0, len(data), _LONGEST_LITERAL):
        part = data[start : start + _LONGEST_LITERAL]
        output.append(len(part) - 1)
        output += part
