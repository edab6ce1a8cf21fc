//! Doubles as arguments spell them, by Redis' rules (integers: `resp::number`). No error texts, no commands.

use super::float_text::{DOUBLE, Rounded, Scanned, scan};

/// A double as `strtod` reads it: decimal, hexadecimal, `inf`. None: other text, NaN, or out of range in either
/// direction. Underflow to a subnormal is accepted.
pub fn parse_double(text: &[u8]) -> Option<f64> {
    // The standard library reads a subset of what C reads. What it calls zero, infinite or an error needs a second look.
    let quick = std::str::from_utf8(text).ok().and_then(|text| text.parse::<f64>().ok());
    if let Some(value) = quick.filter(|value| value.is_normal()) {
        return Some(value);
    }
    match scan(text)? {
        Scanned::Infinity { negative } => Some(if negative { f64::NEG_INFINITY } else { f64::INFINITY }),
        Scanned::Number(exact) => match exact.round(DOUBLE) {
            Rounded::Finite { mantissa, exponent } => Some(compose_double(exact.negative, mantissa, exponent)),
            Rounded::Overflow | Rounded::Underflow => None,
        },
    }
}

/// A double as C's `strtod` reads the whole of a text: blanks may stand before it, nothing is zero, a zero byte ends it, what is out of range
/// is infinite or zero. None: other text, or NaN.
pub fn parse_double_loosely(text: &[u8]) -> Option<f64> {
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    if text.is_empty() {
        return Some(0.0);
    }
    let blanks = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t'..=b'\r')).count();
    let number = &text[blanks..];
    parse_double(number).or_else(|| match scan(number)? {
        Scanned::Infinity { .. } => None,
        Scanned::Number(exact) => {
            let magnitude = match exact.round(DOUBLE) {
                Rounded::Overflow => f64::INFINITY,
                Rounded::Finite { .. } | Rounded::Underflow => 0.0,
            };
            Some(if exact.negative { -magnitude } else { magnitude })
        }
    })
}

/// A double as C's `printf` writes it with `%.17g`: 17 digits without the zeros at their end.
pub fn to_text_of_17_digits(value: f64) -> String {
    to_text_of_digits(value, 17)
}

/// The same with another number of digits, from 1 on.
pub fn to_text_of_digits(value: f64, digits_max: i32) -> String {
    if !value.is_finite() {
        let infinity = if value < 0.0 { "-inf" } else { "inf" };
        return if value.is_nan() { "nan" } else { infinity }.to_owned();
    }
    let scientific = format!("{value:.precision$e}", precision = (digits_max - 1).unsigned_abs() as usize);
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let shorten = |text: &str| text.trim_end_matches('0').trim_end_matches('.').to_owned();
    if (-4..digits_max).contains(&exponent) {
        let decimals = (digits_max - 1 - exponent).unsigned_abs() as usize;
        let plain = format!("{value:.decimals$}");
        return if decimals == 0 { plain } else { shorten(&plain) };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", shorten(digits), exponent.unsigned_abs())
}

/// `mantissa * 2 ^ exponent`, which is a double exactly.
fn compose_double(negative: bool, mantissa: u64, exponent: i64) -> f64 {
    const FRACTION_BITS: u32 = f64::MANTISSA_DIGITS - 1;
    if mantissa == 0 {
        return if negative { -0.0 } else { 0.0 };
    }
    // Normal numbers have the highest bit of the fraction's implicit one; subnormals have the exponent field 0.
    let spare = (mantissa.leading_zeros() - (63 - FRACTION_BITS)).min(u32::try_from(exponent + 1_074).unwrap_or(0));
    let mantissa = mantissa << spare;
    let field = if mantissa >> FRACTION_BITS == 0 { 0 } else { (exponent - i64::from(spare) + 1_075).cast_unsigned() };
    let fraction = mantissa & ((1 << FRACTION_BITS) - 1);
    f64::from_bits((u64::from(negative) << 63) | (field << FRACTION_BITS) | fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_are_read_as_c_reads_them() {
        for (text, value) in [
            ("1", 1.0),
            ("-1.5", -1.5),
            ("1e3", 1000.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("0x10", 16.0),
            ("inf", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
            ("0", 0.0),
            ("0e9999", 0.0),
            ("4.9e-324", 5e-324),
            ("2.2e-308", 2.2e-308),
            ("0x1p-1074", 5e-324),
            ("0x1.8p1023", 1.5 * 2f64.powi(1023)),
            ("0x1p-1023", 2f64.powi(-1023)),
        ] {
            assert_eq!(parse_double(text.as_bytes()), Some(value), "{text}");
        }
        assert!(parse_double(b"-0").is_some_and(|zero| zero.is_sign_negative()));
        for text in ["", " 1", "1 ", "nan", "1e400", "-1e400", "1e-400", "abc", "1,5", "0x", "1e"] {
            assert_eq!(parse_double(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn bounds_are_read_as_strtod_reads_them() {
        for (text, value) in [
            ("", 0.0),
            (" \t\x0b\n1.5", 1.5),
            ("1e400", f64::INFINITY),
            ("-1e400", f64::NEG_INFINITY),
            ("1e-400", 0.0),
            ("0x10", 16.0),
            ("+inf", f64::INFINITY),
            ("7\0x", 7.0),
        ] {
            assert_eq!(parse_double_loosely(text.as_bytes()), Some(value), "{text:?}");
        }
        for text in [" ", "1 ", "nan", "x", "(1", "1,5", "--1", "inf x"] {
            assert_eq!(parse_double_loosely(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn seventeen_digits_are_those_of_printf() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (0.1, "0.10000000000000001"),
            (3.3, "3.2999999999999998"),
            (1e16, "10000000000000000"),
            (1e17, "1e+17"),
            (123_456_789_012_345_678.0, "1.2345678901234568e+17"),
            (0.0001, "0.0001"),
            (0.000_01, "1.0000000000000001e-05"),
            (1.797_693_134_862_315_7e308, "1.7976931348623157e+308"),
            (5e-324, "4.9406564584124654e-324"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(to_text_of_17_digits(value), text);
        }
    }

    proptest::proptest! {
        #[test]
        fn a_written_double_reads_back_in_either_notation(bits in proptest::num::u64::ANY) {
            let value = f64::from_bits(bits);
            proptest::prop_assume!(!value.is_nan());
            proptest::prop_assert_eq!(parse_double(value.to_string().as_bytes()), Some(value));
            proptest::prop_assert_eq!(parse_double(format!("{value:e}").as_bytes()), Some(value));
        }
    }
}
