"""The webhook's own messages, with CEL expressions in the places of their values.

A message is taken from the function that makes it, which is called with stand-ins as values. In CEL it is a list of
texts: those at odd places are quoted, by one expression for all of them.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from webhook.admission.reasons import MAX_QUOTED, AdmissionWarning, Refusal
from webhook.admission_policy.cel import cel, literal

# The quoting of a message leaves these as they are; one with a blank cannot be an id.
FIRST, SECOND, BLANK = "<<0>>", "<<1>>", "<<0>> "
_NOTHING: Final[Mapping[str, str]] = {}


def refusal(provoke: Callable[[], object], *expressions: str, stand_ins: Mapping[str, str] = _NOTHING) -> str:
    """The message of the refusal that `provoke` raises, as CEL.

    FIRST and SECOND in it become the expressions; `stand_ins` are further texts that do, by their expressions.
    """
    try:
        provoke()
    except Refusal as raised:
        return _parts(f"{raised.message} ({raised.reason})", expressions, stand_ins)
    raise AssertionError("nothing was refused")


def warning(warnings: Iterable[AdmissionWarning], *expressions: str, stand_ins: Mapping[str, str] = _NOTHING) -> str:
    """The text of the only warning, as CEL; the arguments are as those of `refusal`."""
    (only,) = warnings
    return _parts(str(only), expressions, stand_ins)


def text(message: str, stand_ins: Mapping[str, str]) -> str:
    """A message as CEL."""
    return _parts(message, (), stand_ins)


def _parts(message: str, expressions: tuple[str, ...], stand_ins: Mapping[str, str]) -> str:
    known = {f"<<{number}>>": expression for number, expression in enumerate(expressions)} | dict(stand_ins)
    found = "|".join(map(re.escape, sorted(known, key=len, reverse=True)))
    if not found:
        return f"[{literal(message)}]"
    quoted = re.compile(f"'({found}) ?'")
    pieces = quoted.split(message)
    written = [
        f"string({known[piece]})" if index % 2 else _plain(piece, re.compile(f"({found})"), known)
        for index, piece in enumerate(pieces)
    ]
    return "[" + ", ".join(written) + "]"


def _plain(piece: str, found: re.Pattern[str], known: Mapping[str, str]) -> str:
    written = [
        f"string({known[part]})" if index % 2 else literal(part)
        for index, part in enumerate(found.split(piece))
        if index % 2 or part
    ]
    return " + ".join(written) or "''"


def sentences(messages: str) -> str:
    """An expression of the whole texts of a list of messages, their values quoted as by `reasons.quoted`."""
    return cel(
        f"""
        {messages}.map(
          parts,
          parts.transformList(
            index, part,
            index % 2 == 0 ? part
            : [part.size() > @MAX_QUOTED ? part.substring(0, @CUT) + '...' : part].map(
              text,
              !text.matches(@PRINTABLE) ? '(not shown, since it is not ASCII)'
              : text.contains(@APOSTROPHE) && !text.contains('"') ? '"' + text.replace(@BACKSLASH, @BACKSLASHES) + '"'
              : @APOSTROPHE + text.replace(@BACKSLASH, @BACKSLASHES).replace(@APOSTROPHE, @ESCAPED) + @APOSTROPHE
            )[0].replace(@NEWLINE, @SHOWN_NEWLINE).replace(@RETURN, @SHOWN_RETURN).replace(@TAB, @SHOWN_TAB)
          ).join('')
        )
        """,
        MAX_QUOTED=MAX_QUOTED,
        CUT=MAX_QUOTED - 3,
        PRINTABLE="^[ -~\t\r\n]*$",
        APOSTROPHE="'",
        ESCAPED="\\'",
        BACKSLASH="\\",
        BACKSLASHES="\\\\",
        NEWLINE="\n",
        SHOWN_NEWLINE="\\n",
        RETURN="\r",
        SHOWN_RETURN="\\r",
        TAB="\t",
        SHOWN_TAB="\\t",
    )
