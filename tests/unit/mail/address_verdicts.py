"""Addresses that others made, each with a verdict (addresses/, of Dominic Sayers' is_email): where RFC 5321 has a say,
the address type must agree.

Usage: address_verdicts.py PROGRAM, which answers each line of its input with a line that begins with "ok" or "error"."""
import pathlib
import subprocess
import sys
import xml.etree.ElementTree as ET

DATA = pathlib.Path(__file__).parent / "addresses/isemail-tests.xml"

# Of what the data calls good, or good for SMTP alone.
GOOD = {"ISEMAIL_VALID_CATEGORY", "ISEMAIL_DNSWARN", "ISEMAIL_RFC5321"}
# What RFC 5322 knows and RFC 5321 does not: comments, folding, obsolete forms, literals that are none, lengths.
BAD = {"ISEMAIL_ERR", "ISEMAIL_CFWS", "ISEMAIL_DEPREC", "ISEMAIL_RFC5322"}
# Where the verdict is another one here, with RFC 5321's reason.
LONGER = (True, "4.5.3.1: the limits say what must be taken at least, and 64 octets are counted without the quotes")
OTHERWISE = {
    43: (False, "an empty local part is well-formed and names nobody; others take its <> for the null path"),
    59: LONGER,
    60: LONGER,
    71: (True, "4.1.3 wants two groups behind ::, RFC 4291 2.2 one; what goes on has no :: in it"),
}


def text_of(test):
    """The address; control characters stand there as the symbols for them."""
    raw = test.findtext("address") or ""
    return "".join(chr(ord(c) - 0x2400) if 0x2400 <= ord(c) <= 0x2420 else c for c in raw)


def main(program):
    tests = [(int(test.get("id")), text_of(test), test.findtext("category"), test.findtext("diagnosis"))
             for test in ET.parse(DATA).getroot().iter("test")]
    # One address is a line here; what holds a line's end is bad by that, and is fed hexadecimally.
    lines = "".join(address.encode().hex() + "\n" for _, address, _, _ in tests)
    answers = subprocess.run([program], input=lines, capture_output=True, text=True, check=True,
                             timeout=60).stdout.splitlines()
    assert len(answers) == len(tests), (len(answers), len(tests))
    wrong = 0
    for (number, address, category, diagnosis), answer in zip(tests, answers):
        assert category in GOOD | BAD, category
        expected = OTHERWISE.get(number, (category in GOOD,))[0]
        if answer.startswith("ok") != expected:
            wrong += 1
            print(f"{number} {address!r}: {category} {diagnosis}: {answer}")
    print(f"{len(tests)} addresses, {wrong} wrong")
    return 1 if wrong or len(tests) < 150 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
