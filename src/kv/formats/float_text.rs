//! The texts that C's `strtod` and `strtold` read, as exact numbers, and their correct rounding to a binary format.
//! Knows no command and no storage.

use num_bigint::BigUint;

/// What a text says before it is rounded to any format. A NaN is no number here: Redis refuses it everywhere.
#[derive(Clone, Debug, PartialEq)]
pub enum Scanned {
    Infinity { negative: bool },
    Number(Exact),
}

/// Plus or minus `digits * radix ^ exponent`; `radix` is 10, or 2 when the text was hexadecimal.
#[derive(Clone, Debug, PartialEq)]
pub struct Exact {
    pub negative: bool,
    digits: BigUint,
    radix: u32,
    exponent: i64,
}

/// A binary format with subnormals: `mantissa * 2 ^ exponent`, where the mantissa has at most `precision_bits` bits.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    pub precision_bits: u64,
    pub exponent_min: i64,
    pub exponent_max: i64,
}

pub const DOUBLE: Format = Format { precision_bits: 53, exponent_min: -1074, exponent_max: 971 };
/// The 80-bit extended format of the x87, `long double` on x86-64.
pub const EXTENDED: Format = Format { precision_bits: 64, exponent_min: -16_445, exponent_max: 16_320 };

/// The nearest number of a format, ties to even.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounded {
    Finite {
        mantissa: u64,
        exponent: i64,
    },
    /// too large, as `ERANGE` with an infinity
    Overflow,
    /// not zero, but nearest to zero, as `ERANGE` with a zero
    Underflow,
}

/// Powers of ten outside of this range are beyond every format here, so that an exponent of a billion costs nothing. The
/// largest number has 4,933 digits; what is left is for the estimate of a text of a few thousand digits.
const DECIMAL_MAGNITUDE_MAX: i64 = 5_000;
/// The same for powers of two.
const BINARY_MAGNITUDE_MAX: i64 = 17_000;
/// No exponent that a text spells is taken for larger: far beyond every limit, far below an overflow.
const EXPONENT_MAX: i64 = 1 << 40;

/// The longest text worth scanning: exact arithmetic costs more than linear time, and Redis too stops here for `strtold`
/// (a buffer of 5 KiB with the final zero byte).
pub const TEXT_BYTES_MAX: usize = 5 * 1024 - 1;

/// Reads the whole of `text`. None: it is too long, C would have stopped before its end, or it is a NaN.
pub fn scan(text: &[u8]) -> Option<Scanned> {
    if text.len() > TEXT_BYTES_MAX {
        return None;
    }
    let (negative, rest) = split_sign(text);
    if rest.eq_ignore_ascii_case(b"inf") || rest.eq_ignore_ascii_case(b"infinity") {
        return Some(Scanned::Infinity { negative });
    }
    let (digits, radix, exponent) = match rest {
        [b'0', b'x' | b'X', hexadecimal @ ..] => scan_digits(hexadecimal, 16)?,
        _ => scan_digits(rest, 10)?,
    };
    Some(Scanned::Number(Exact { negative, digits, radix, exponent }))
}

fn split_sign(text: &[u8]) -> (bool, &[u8]) {
    match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    }
}

/// Digits, perhaps a point among them, perhaps an exponent: (integer, radix of the exponent, exponent).
fn scan_digits(text: &[u8], base: u32) -> Option<(BigUint, u32, i64)> {
    let is_digit = |byte: &u8| char::from(*byte).is_digit(base);
    let mut digits: Vec<u8> = Vec::with_capacity(text.len());
    let whole = text.iter().take_while(|byte| is_digit(byte)).count();
    digits.extend_from_slice(&text[..whole]);
    let mut rest = &text[whole..];
    let mut fraction = 0;
    if let [b'.', after @ ..] = rest {
        fraction = after.iter().take_while(|byte| is_digit(byte)).count();
        digits.extend_from_slice(&after[..fraction]);
        rest = &after[fraction..];
    }
    if digits.is_empty() {
        return None;
    }
    let spelled = match (rest, base) {
        ([], _) => 0,
        ([b'e' | b'E', exponent @ ..], 10) | ([b'p' | b'P', exponent @ ..], 16) => scan_exponent(exponent)?,
        _ => return None,
    };
    let (radix, per_digit) = if base == 16 { (2, 4) } else { (10, 1) };
    let fraction = i64::try_from(fraction).ok()?;
    Some((BigUint::parse_bytes(&digits, base)?, radix, spelled - fraction * per_digit))
}

fn scan_exponent(text: &[u8]) -> Option<i64> {
    let (negative, digits) = split_sign(text);
    if digits.is_empty() {
        return None;
    }
    let mut value: i64 = 0;
    for byte in digits {
        let digit = char::from(*byte).to_digit(10)?;
        value = (value * 10 + i64::from(digit)).min(EXPONENT_MAX);
    }
    Some(if negative { -value } else { value })
}

impl Exact {
    /// The nearest number of `format`.
    pub fn round(&self, format: Format) -> Rounded {
        if self.digits == BigUint::ZERO {
            return Rounded::Finite { mantissa: 0, exponent: 0 };
        }
        let (size, limit) = match self.radix {
            10 => (decimal_digits_max(&self.digits), DECIMAL_MAGNITUDE_MAX),
            _ => (signed(self.digits.bits()), BINARY_MAGNITUDE_MAX),
        };
        let magnitude = size + self.exponent;
        if magnitude > limit {
            return Rounded::Overflow;
        }
        if magnitude < -limit {
            return Rounded::Underflow;
        }
        let power = BigUint::from(self.radix).pow(u32::try_from(self.exponent.unsigned_abs()).unwrap_or(u32::MAX));
        if self.exponent >= 0 {
            round_quotient(&(&self.digits * power), &BigUint::from(1u8), format)
        } else {
            round_quotient(&self.digits, &power, format)
        }
    }
}

/// At least the number of decimal digits of `value`, at most one more in a hundred.
fn decimal_digits_max(value: &BigUint) -> i64 {
    signed(value.bits()) * 304 / 1_000 + 1
}

fn signed(bits: u64) -> i64 {
    i64::try_from(bits).unwrap_or(i64::MAX)
}

/// The number of `format` that is nearest to `numerator / denominator`, neither of them zero; ties to even.
pub fn round_quotient(numerator: &BigUint, denominator: &BigUint, format: Format) -> Rounded {
    let precision = signed(format.precision_bits);
    let mut exponent = (signed(numerator.bits()) - signed(denominator.bits()) - precision).max(format.exponent_min);
    // The first guess is right or one too small: the quotient then has one bit too many.
    let mut quotient = divide_to_nearest(numerator, denominator, exponent, format.precision_bits);
    if quotient.is_none() {
        exponent += 1;
        quotient = divide_to_nearest(numerator, denominator, exponent, format.precision_bits);
    }
    let mut quotient = quotient.unwrap_or_default();
    if quotient.bits() > format.precision_bits {
        quotient >>= 1u8;
        exponent += 1;
    }
    if exponent > format.exponent_max {
        return Rounded::Overflow;
    }
    match u64::try_from(quotient) {
        Ok(0) => Rounded::Underflow,
        Ok(mantissa) => Rounded::Finite { mantissa, exponent },
        Err(_) => Rounded::Overflow,
    }
}

/// `numerator / (denominator * 2 ^ exponent)` as an integer, ties to even; None when its floor has too many bits.
fn divide_to_nearest(numerator: &BigUint, denominator: &BigUint, exponent: i64, bits_max: u64) -> Option<BigUint> {
    let shift = exponent.unsigned_abs();
    let (numerator, denominator) = if exponent >= 0 {
        (numerator.clone(), denominator << shift)
    } else {
        (numerator << shift, denominator.clone())
    };
    let floor = &numerator / &denominator;
    if floor.bits() > bits_max {
        return None;
    }
    let twice_rest = (numerator - &floor * &denominator) << 1u8;
    let up = match twice_rest.cmp(&denominator) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Equal => floor.bit(0),
        std::cmp::Ordering::Greater => true,
    };
    Some(if up { floor + 1u8 } else { floor })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn double(text: &str) -> Option<f64> {
        let Scanned::Number(exact) = scan(text.as_bytes())? else { return None };
        match exact.round(DOUBLE) {
            Rounded::Finite { mantissa, exponent } => {
                let magnitude =
                    mantissa as f64 * 2f64.powi((exponent / 2) as i32) * 2f64.powi((exponent - exponent / 2) as i32);
                Some(if exact.negative { -magnitude } else { magnitude })
            }
            Rounded::Overflow => Some(f64::INFINITY),
            Rounded::Underflow => Some(0.0),
        }
    }

    #[test]
    fn texts_that_c_does_not_read_to_their_end_are_refused() {
        for text in [
            "", "+", "-", ".", "e5", "1e", "1e+", "1.2.3", " 1", "1 ", "0x", "0x.", "0x1p", "0xg", "nan", "1f", "--1",
            "infinit", "1e5x",
        ] {
            assert_eq!(scan(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn hexadecimal_and_decimal_forms_are_read() {
        for (text, value) in [
            ("1", 1.0),
            ("+1.", 1.0),
            (".5", 0.5),
            ("-2.5e-1", -0.25),
            ("1E3", 1000.0),
            ("0x10", 16.0),
            ("0X.8p1", 1.0),
            ("0x1.8P+3", 12.0),
            ("-0x1p-1", -0.5),
            ("1e22", 1e22),
            ("9007199254740993", 9007199254740992.0),
            ("9007199254740993.0000000000000000000001", 9007199254740994.0),
            ("0e999999999999", 0.0),
            ("1e-400", 0.0),
            ("1e400", f64::INFINITY),
            ("1e99999999999999999999", f64::INFINITY),
            ("1e-99999999999999999999", 0.0),
        ] {
            assert_eq!(double(text), Some(value), "{text}");
        }
        let long = format!("0.{}1e4999", "0".repeat(4_999));
        assert_eq!(double(&long), Some(0.1));
    }

    #[test]
    fn infinities_are_spelled_in_any_case() {
        assert_eq!(scan(b"InF"), Some(Scanned::Infinity { negative: false }));
        assert_eq!(scan(b"-INFINITY"), Some(Scanned::Infinity { negative: true }));
    }

    proptest::proptest! {
        #[test]
        fn rounds_like_the_standard_library(text in "-?[0-9]{1,25}(\\.[0-9]{0,25})?(e-?[0-9]{1,2})?") {
            proptest::prop_assert_eq!(double(&text), Some(text.parse::<f64>().unwrap()));
        }
    }
}
