"""What a long run has done, for its reader: lines of the file that POSTERN_FIGURES names."""
import os


def note(text):
    if path := os.environ.get("POSTERN_FIGURES"):
        with open(path, "a", encoding="utf-8") as file:
            file.write(text + "\n")


def note_verdict(what, verdict):
    """Of postern-ledger."""
    note(f"{what}: acknowledged {verdict['acknowledged']}, delivered {verdict['delivered']}, "
         f"lost {verdict['lost']}, phantom {verdict['phantom']}, changed {verdict['changed']}, "
         f"duplicate {verdict['duplicate']}, refused {verdict['refused']}, unknown {verdict['unknown']}")
