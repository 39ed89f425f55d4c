"""Scalars as people write them; tests/cluster/test_kubectl_yaml.py holds each to the real kubectl."""

from typing import Final

# As they stand after `value: ` in a manifest.
SCALARS: Final = (
    # times and ratios, which YAML 1.1 reads in base 60
    "22:30", "1000:50", "12:30", "1:1:1", "190:20:30.15",
    # booleans and null
    "y", "Y", "n", "N", "yes", "Yes", "no", "NO", "on", "On", "off", "OFF", "oFf", "true", "True", "TRUE", "tRUE",
    "false", "null", "Null", "NULL", "nULL", "~", "",
    # integers
    "0", "-0", "+5", "-5", "014", "-014", "0o14", "0O14", "0777", "08", "00", "0x1F", "-0x1f", "0x_f", "0b101",
    "-0b101", "0b-1", "0b2", "0o8", "0xg", "0x", "1_000", "1__0", "1_", "_1",
    "9223372036854775807", "9223372036854775808",
    "-9223372036854775808", "-9223372036854775809", "18446744073709551615", "18446744073709551616",
    "+18446744073709551615", "0xFFFFFFFFFFFFFFFF", "0x1FFFFFFFFFFFFFFFFFF", "99999999999999999999999999",
    # floats
    "1.0", "1.5", "1.50", "5.", ".5", "-.5", "+.5", ".1_0", "._5", ".5e1", ".e1", "1_0.5", "1e3", "1E3", "1e+3", "1e-3",
    "1.e3", "1e", "1e+", "1e20", "1e21", "1e400", "1e-400", "0.1e-7", "123456789.123456789", "1234567890123456789.0",
    "-0.0", "0x1p4", "1p4", "09.5", "1.2.3", "inf", "nan", "infinity", ".iNf", ".",
    # dates, which stay text
    "2026-01-02", "2026-01-02T03:04:05Z", "2026-1-2 3:4:5", "2026-13-40",
    # other text
    "=", "<<", "1,000", "-x", "+x", "+", "1#c", "1 # c", "\u0663", "\uff11", "a b",
    # quoted, and with tags
    "'22:30'", '"3"', "'true'", '"\\x41"', "'it''s'", "!!str 3", "!!str", "!!str ~", '!!int "3"', "!!int 014",
    "!!float 3",
    "!!float .5", "!!bool yes", '!!bool "n"', '!!null ""', "!!binary aGVsbG8=", "!!timestamp 2026-01-02", "!custom 3",
    "! 3",
    "!!foo 3", "!<tag:yaml.org,2002:int> 3",
    # collections, with tags, anchors and merge keys
    "!!set {a, b}", "!!omap [a: 1]", "!!int [1]", "{22:30: a, 014: b, 1.10: c, yes: d, 1e21: e, 0.00001: f}",
    "{123456789.5: a, .inf: b, -1: c, '': d}", "[&a x, *a]", "[&a [1], &a [2], *a]", "[&a [1, &a 2], *a]",
    "{<<: {a: 1, b: 2}, a: 3}", "{a: 3, <<: {a: 1, b: 2}}", "{<<: [{a: 1}, {a: 2, b: 2}]}", "{'<<': {a: 1}}",
    "{!!merge <<: {a: 1}}", "{<<: {a: 1}, <<: {b: 2}}",
)  # fmt: skip
# What kubectl refuses.
REFUSED: Final = (
    ".inf", "-.inf", ".nan", "!!null x", "!!int x", "!!int 1.0", "!!bool 1", "!!float x", "!!timestamp x",
    "!!timestamp 2026-13-40", "!!binary '!'", "{<<: x}", "{<<: [1]}", "{null: a}", "{? [a] : b}",
    "{18446744073709551615: a}", "[*a]", "&a [*a]", "@a", "a: b: c", "[a, b",
)  # fmt: skip
