"""Makes field sections with ls-qpack, and decodes ours with it: see .ci/http3."""
import json, pathlib, random, sys

from pylsqpack import Decoder, DecompressionFailed, Encoder

what, folder, *sets = sys.argv[1:]
folder = pathlib.Path(folder)
chance = random.Random(9204)

NAMES = """:authority :method :path :scheme :status accept accept-encoding accept-language accept-ranges age allow
    access-control-allow-credentials access-control-allow-headers access-control-allow-origin alt-svc authorization
    cache-control content-disposition content-encoding content-length content-security-policy content-type cookie date
    early-data etag if-modified-since if-none-match last-modified link location origin range referer server set-cookie
    strict-transport-security upgrade-insecure-requests user-agent vary x-content-type-options x-frame-options
    x-forwarded-for x-request-id a-name-that-no-table-has priority sec-ch-ua""".split()
VALUES = """GET POST HEAD / /index.html?a=b http https 200 204 304 404 503 100 103 */* gzip br text/plain text/html;charset=utf-8
    application/json max-age=0 no-cache deny sameorigin nosniff 1 0 www.example.com accept-encoding
    Sun,06Nov1994 0123456789abcdef script-src'none';object-src'none' {} \\^~|<> ÄÖÜ""".split()


def made():
    """Lists of fields: all names with all values, and some at random."""
    yield from ([(name, value)] for name in NAMES for value in VALUES)
    for _ in range(1500):
        bytes_ = lambda: "".join(chr(chance.randrange(32, 127)) for _ in range(chance.randrange(60)))
        value = lambda: chance.choice([chance.choice(VALUES), bytes_().strip(), "x" * chance.randrange(300)])
        yield [(chance.choice(NAMES), value()) for _ in range(chance.randrange(1, 12))]


def lists():
    """By name of the file."""
    yield "made", list(made())
    for path in (path for one in sets for path in sorted(pathlib.Path(one).glob("*/story_*.json"))):
        cases = json.loads(path.read_text())["cases"]
        yield f"{path.parent.name}-{path.stem}", [
            [pair for header in case["headers"] for pair in header.items()] for case in cases]


def decoded(section):
    """What ls-qpack decodes. `None`: it is malformed."""
    try:
        return Decoder(0, 0).feed_header(0, section)[1]
    except DecompressionFailed:
        return None


def changed(section):
    """Not in the prefix: ls-qpack does not look at the sign of the base, which RFC 9204 section 4.5.1.2 asks for."""
    section = bytearray(section)
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(2, max(len(section), 3))
        match chance.randrange(4):
            case 0: section[at:at + 1] = [chance.randrange(256)]
            case 1: section[at:at + 1] = [byte ^ 1 << chance.randrange(8) for byte in section[at:at + 1]]
            case 2: section.insert(at, chance.randrange(256))
            case 3: del section[at:at + 1]
    return bytes(section)


if what == "make":
    for name, cases in lists():
        text = []
        for fields in cases:
            encoder = Encoder()
            pairs = [(name.encode(), value.encode()) for name, value in fields]
            _, section = encoder.encode(0, pairs)
            text += ["case", *(f"field {name}\t{value}" for name, value in fields), f"wire {section.hex()}"]
            for other in (changed(section) for _ in range(4 if name == "made" else 0)):
                # ls-qpack takes a section without fields for malformed.
                if len(other) == 2:
                    continue
                pairs = decoded(other)
                wanted = "none" if pairs is None else "".join(f"{n.hex()}:{v.hex()};" for n, v in pairs)
                text.append(f"changed {other.hex()} {wanted}")
        (folder / f"{name}.cases").write_text("\n".join(text) + "\n")
else:
    count = sent = given = 0
    for name, cases in lists():
        sections = (folder / f"{name}.ours").read_text().split("\n")
        for fields, section in zip(cases, sections, strict=True):
            section = bytes.fromhex(section)
            pairs = [(name.encode(), value.encode()) for name, value in fields]
            assert decoded(section) == pairs, (name, fields, section)
            theirs = len(Encoder().encode(0, pairs)[1])
            count, sent, given = count + 1, sent + len(section), given + theirs
    print(f"ok {count} field sections, both ways: ours have {sent} bytes, those of ls-qpack {given}")
