import re
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from beamlit_controller.core import quantity
from beamlit_controller.core.quantity import Family, Quantity

families = st.sampled_from(Family)
quantities = st.builds(Quantity, st.integers(-(10**40), 10**40), families)
thousandths = st.integers(-(10**30), 10**30)

SCALES = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    "": Fraction(1),
    "k": Fraction(10**3),
    "M": Fraction(10**6),
    "G": Fraction(10**9),
    "T": Fraction(10**12),
    "P": Fraction(10**15),
    "E": Fraction(10**18),
    "Ki": Fraction(2**10),
    "Mi": Fraction(2**20),
    "Gi": Fraction(2**30),
    "Ti": Fraction(2**40),
    "Pi": Fraction(2**50),
    "Ei": Fraction(2**60),
    "e3": Fraction(1000),
    "E+07": Fraction(10**7),
    "e-5": Fraction(1, 10**5),
}


@pytest.mark.parametrize(
    ("text", "milli", "canonical"),
    [
        ("0", 0, "0"),
        ("500m", 500, "500m"),
        ("1.5", 1500, "1500m"),
        (".5", 500, "500m"),
        ("1.", 1000, "1"),
        ("+2", 2000, "2"),
        ("-0", 0, "0"),
        ("1500", 1_500_000, "1500"),
        ("1000k", 10**9, "1M"),
        ("1000E", 10**24, "1000E"),
        ("1E", 10**21, "1E"),
        ("1E3", 10**6, "1e3"),
        ("1e4", 10**7, "10e3"),
        ("1.5e3", 1_500_000, "1500"),
        ("1e-4", 1, "100e-6"),
        ("1.5Gi", 1_610_612_736_000, "1536Mi"),
        ("1024Ki", 1_048_576_000, "1Mi"),
        ("1023Ki", 1_047_552_000, "1023Ki"),
        ("0.5Ki", 512_000, "512"),
        ("1.0001Ki", 1_024_103, "1024102400u"),
        ("1024Ei", 2**70 * 1000, "1024Ei"),
        ("1n", 1, "1n"),
        ("0.1n", 1, "1n"),
        ("-0.1n", -1, "-1n"),
        ("250000001n", 251, "250000001n"),
        ("-1500u", -2, "-1500u"),
    ],
)
def test_reads_rounds_and_prints(text: str, milli: int, canonical: str) -> None:
    amount = quantity.parse(text)

    assert amount.milli == milli
    assert str(amount) == canonical


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "got '': there are no digits"),
        ("-", "got '-': there are no digits"),
        (".", "got '.': there are no digits"),
        ("m", "got 'm': there are no digits"),
        ("Gi", "got 'Gi': there are no digits"),
        ("1K", "got '1K': there is no suffix 'K', did you mean 'k'?"),
        ("1ki", "there is no suffix 'ki', did you mean 'Ki'?"),
        ("16GB", "there is no suffix 'GB', did you mean 'G'?"),
        ("16GiB", "there is no suffix 'GiB', did you mean 'Gi'?"),
        ("1e", "there is no suffix 'e', did you mean 'E'?"),
        ("3 seconds", "write digits, then at most one suffix"),
        ("3seconds", "there is no suffix 'seconds'"),
        (" 1", "write digits, then at most one suffix"),
        ("1\n", "write digits, then at most one suffix"),
        ("1_000", "write digits, then at most one suffix"),
        ("1,5", "write digits, then at most one suffix"),
        ("1e3.5", "write digits, then at most one suffix"),
        ("0x10", "write digits, then at most one suffix"),
        ("٣", "write digits, then at most one suffix"),
        ("NaN", "there are no digits"),
        ("50%", "write digits, then at most one suffix"),
    ],
)
def test_says_what_was_expected_and_what_came(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)) as raised:
        quantity.parse(text)

    assert str(raised.value).startswith("expected a quantity such as 500m, 1.5 or 2Gi, got ")


@pytest.mark.parametrize(
    "text", ["1e999999999", "1e-999999999", "0e100", "10e99", "-1e100", "9" * 129, "0" * 5000, "1" * 10**6]
)
def test_refuses_absurd_input_at_once_and_briefly(text: str) -> None:
    with pytest.raises(ValueError, match="expected a quantity") as raised:
        quantity.parse(text)

    assert len(str(raised.value)) < 200


@pytest.mark.parametrize(
    ("milli", "family", "text"),
    [
        (0, Family.DECIMAL, "0"),
        (1500, Family.DECIMAL, "1500m"),
        (2000, Family.DECIMAL, "2"),
        (-2_000_000, Family.DECIMAL, "-2k"),
        (1_153_433_600_000, Family.BINARY, "1100Mi"),
        (184_099_328_000, Family.BINARY, "184099328"),
        (75_920_725_333, Family.BINARY, "75920725333m"),
        (-1_024_000, Family.BINARY, "-1Ki"),
        (1_000_000, Family.EXPONENT, "1e3"),
    ],
)
def test_prints_thousandths(milli: int, family: Family, text: str) -> None:
    assert quantity.format_milli(milli, family) == text


@given(quantities)
@example(Quantity(3_125_000 * 10**9, Family.BINARY))
def test_what_is_printed_reads_the_same(amount: Quantity) -> None:
    """A plain number says nothing of its family: 3125000 bytes, which no 1024 divides, read as 3125k, as in Kubernetes."""
    text = str(amount)

    assert quantity.parse(text) == amount
    assert str(quantity.parse(text)) == text or text.removeprefix("-").isdigit()


@given(quantities)
def test_prints_a_whole_number_and_the_largest_suffix_that_allows_one(amount: Quantity) -> None:
    found = re.fullmatch(r"(0|-?[1-9][0-9]*)([numkMGTPE]?|[KMGTPE]i|e-?[1-9][0-9]*)", str(amount))

    assert found
    number, suffix = int(found[1]), found[2]
    if suffix not in {"", "E", "Ei"}:
        assert number % (1024 if suffix.endswith("i") else 1000) != 0


@given(quantities, quantities)
def test_order_is_that_of_the_amounts_and_survives_rounding(one: Quantity, other: Quantity) -> None:
    assert (one < other) == (one.nano < other.nano)
    assert (one == other) == (one.nano == other.nano)
    if one <= other:
        assert one.milli <= other.milli


@given(quantities)
def test_rounds_away_from_zero_and_by_less_than_a_thousandth(amount: Quantity) -> None:
    excess = abs(amount.milli) * 10**6 - abs(amount.nano)

    assert 0 <= excess < 10**6
    assert (amount.milli < 0) == (amount.nano < 0)


@given(thousandths, thousandths, families)
def test_whole_thousandths_add_up(one: int, other: int, family: Family) -> None:
    read = [quantity.parse(quantity.format_milli(milli, family)).milli for milli in (one, other, one + other)]

    assert read[0] + read[1] == read[2]


@given(st.integers(0, 10**20), st.integers(0, 10**20))
def test_rounding_before_adding_is_never_less_and_at_most_one_more(one: int, other: int) -> None:
    apart = Quantity(one).milli + Quantity(other).milli
    together = Quantity(one + other).milli

    assert together <= apart <= together + 1


@given(
    sign=st.sampled_from(["", "+", "-"]),
    whole=st.text("0123456789", max_size=15),
    point=st.none() | st.text("0123456789", max_size=25),
    suffix=st.sampled_from(sorted(SCALES)),
)
def test_reads_every_text_of_the_grammar(sign: str, whole: str, point: str | None, suffix: str) -> None:
    number = whole if point is None else f"{whole}.{point}"
    if not any(map(str.isdigit, number)):
        with pytest.raises(ValueError, match="there are no digits"):
            quantity.parse(sign + number + suffix)
        return

    exact = Fraction(f"0{number}" if not number.endswith(".") else f"0{number}0") * SCALES[suffix] * 10**9
    nano = -(-exact.numerator // exact.denominator)

    assert quantity.parse(sign + number + suffix).nano == (-nano if sign == "-" else nano)


@given(st.text(max_size=200) | st.text("0123456789.eE+-numkMGTPi", max_size=200))
def test_any_text_is_a_quantity_or_a_value_error(text: str) -> None:
    try:
        amount = quantity.parse(text)
    except ValueError:
        return

    assert quantity.parse(str(amount)) == amount


@pytest.mark.parametrize(
    ("text", "milli"),
    [
        ("10e99", 10**103),
        ("1e100", 10**103),
        ("1e1000", 10**103),
        ("-1e100", -(10**103)),
        ("1e-9", 1),
        ("1e-999999999", 1),
        ("1E18", 10**21),
        ("1E", 10**21),
        (".5", 500),
        ("-.5Ki", -512_000),
        ("1e+5", 10**8),
        ("0e999999999", 0),
        ("1e" + "9" * 5000, 10**103),
        ("9" * 5000, 10**103),
        ("9" * 99, int("9" * 99) * 1000),
        ("0" * 5000 + "7", 7000),
        ("7." + "0" * 5000, 7000),
        ("7." + "0" * 5000 + "1", 7001),
        ("1" + "0" * 5000 + "e-5000", 1000),
        ("999Ei", 999 * 2**60 * 1000),
    ],
)
def test_reads_whatever_the_api_server_stores_up_to_a_bound(text: str, milli: int) -> None:
    """A pod that requests 1e100 bytes is kept by the API server as `10e99`."""
    assert quantity.stored(text).milli == milli


@given(quantities)
def test_what_is_stored_is_exact_wherever_a_user_may_write_it(amount: Quantity) -> None:
    assert quantity.stored(str(amount)) == quantity.parse(str(amount))


@given(
    st.text(max_size=300)
    | st.text("0123456789.eE+-numkMGTPi", max_size=300)
    | st.from_regex(r"[+-]?[0-9]{1,40}(\.[0-9]{0,40})?([eE][+-]?[0-9]{1,12}|Ki|Ei|m|n)?", fullmatch=True)
)
def test_any_stored_text_is_a_bounded_quantity_or_a_short_value_error(text: str) -> None:
    try:
        amount = quantity.stored(text)
    except ValueError as error:
        said = str(error)
    else:
        said = str(amount)
        assert abs(amount.nano) <= 10**109

    assert len(said) < 300
