"""The parsers of annotation values."""

from decimal import Decimal

import pytest

from webhook.admission import values


@pytest.mark.parametrize(
    ("text", "number"), [("3600", 3600), ("0", 0), ("+7200", 7200), ("007200", 7200), ("9" * 18, int("9" * 18))]
)
def test_integers(text: str, number: int) -> None:
    """A number is what Go's ParseInt takes for one, a plus sign and leading zeros included."""
    assert values.integer(text) == number


@pytest.mark.parametrize(
    "text",
    ["", " 7200", "7200 ", "7_200", "\uff17\uff12\uff10\uff10", "-1", "1e3", "3600s", "0x10", "7200\n", "9" * 19],
)
def test_no_integers(text: str) -> None:
    """Blanks, underscores, full-width digits, signs, units and what does not fit 64 bits make no number."""
    assert values.integer(text) is None


@pytest.mark.parametrize(
    ("text", "truth"),
    [
        ("true", True), ("True", True), ("TRUE", True), ("t", True), ("1", True),
        ("false", False), ("False", False), ("F", False), ("0", False),
        ("", None), ("yes", None), ("no", None), ("on", None), (" true", None), ("truely", None),
    ],
)  # fmt: skip
def test_booleans(text: str, truth: bool | None) -> None:  # noqa: FBT001  the expected value
    """Booleans are read in any case; other values are not taken for false."""
    assert values.boolean(text) is truth


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", set()),
        ("container1", {"container1"}),
        ("container1;container2", {"container1", "container2"}),
        ("container1; container2", {"container1", "container2"}),
        ("busybox-1;", {"busybox-1"}),
        ("app,web", {"app", "web"}),
        (" app , web ;; job ", {"app", "web", "job"}),
        (" ; , ", set()),
    ],
)
def test_names(text: str, expected: set[str]) -> None:
    """Container names are separated by semicolons or commas and trimmed of blanks."""
    assert values.names(text) == expected


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("1", "1"), ("0", "0"), ("0.5", "0.5"), (".5", "0.5"), ("5.", "5"), ("100m", "0.1"), ("500u", "0.0005"),
        ("1n", "1e-9"), ("2k", "2000"), ("3M", "3e6"), ("1G", "1e9"), ("1T", "1e12"), ("1P", "1e15"), ("1E", "1e18"),
        ("1Ki", "1024"), ("64Mi", "67108864"), ("1.5Gi", "1610612736"), ("1Ei", "1152921504606846976"),
        ("1e3", "1000"), ("1E3", "1000"), ("12e-3", "0.012"),
    ],
)  # fmt: skip
def test_quantities(text: str, amount: str) -> None:
    """Quantities are read as Kubernetes reads them, in cores or bytes."""
    assert values.quantity(text) == Decimal(amount)


@pytest.mark.parametrize(
    "text",
    ["", ".", "m", "-1", "+1", "1 ", "1 Mi", "1mi", "1KI", "1K", "0x1", "1e", "1e100", "\uff11", "1Mi\n", "1" * 16],
)
def test_no_quantities(text: str) -> None:
    """What Kubernetes would refuse, or nobody means, is no quantity."""
    assert values.quantity(text) is None


@pytest.mark.parametrize(
    ("text", "truth"),
    [
        ("8a2f2b5c-6c0d-4f6a-9a43-3a0ec33ea1c5", True),
        ("8A2F2B5C-6C0D-4F6A-9A43-3A0EC33EA1C5", True),
        ("8a2f2b5c6c0d4f6a9a433a0ec33ea1c5", False),
        ("{8a2f2b5c-6c0d-4f6a-9a43-3a0ec33ea1c5}", False),
        ("8a2f2b5c-6c0d-4f6a-9a43-3a0ec33ea1c5\n", False),
        ("8g2f2b5c-6c0d-4f6a-9a43-3a0ec33ea1c5", False),
        ("", False),
    ],
)
def test_uuids(text: str, truth: bool) -> None:  # noqa: FBT001  the expected value
    """A UUID is one in its usual form with hyphens, in either case."""
    assert values.is_uuid(text) is truth


@pytest.mark.parametrize(
    ("text", "truth"),
    [
        ("2f5e1c3a-9b7d-4c52-8f61-7a0b9d3e4c25", True),
        ("contoso.onmicrosoft.com", True),
        ("Contoso.COM", True),
        ("common", False),
        ("contoso", False),
        ("-a.com", False),
        ("contoso..com", False),
        ("contoso.com/", False),
        ("a" * 64 + ".com", False),
        ("a." * 126 + "com", False),
        ("", False),
    ],
)
def test_tenants(text: str, truth: bool) -> None:  # noqa: FBT001  the expected value
    """A tenant is named by its UUID or by a domain."""
    assert values.is_tenant(text) is truth


@pytest.mark.parametrize(
    ("text", "truth"),
    [
        ("my-app", True),
        ("x" * 253, True),
        ("x" * 254, False),
        ("", False),
        ("two words", False),
        ("a\nb", False),
        ("a\tb", False),
        ("caf\u00e9", False),
    ],
)
def test_ids(text: str, truth: bool) -> None:  # noqa: FBT001  the expected value
    """An id that goes into a variable is printable ASCII without blanks, and not long."""
    assert values.is_id(text) is truth
