//! The 80-bit `long double` arithmetic of INCRBYFLOAT, exactly as Redis does it on x86-64, without an x87: read as
//! `strtold` reads, add with one rounding, write as `%.17Lf` without its trailing zeros.

use num_bigint::BigUint;

use super::float_text::{EXTENDED, Rounded, Scanned, round_quotient, scan};

const FRACTION_DIGITS: usize = 17;

/// A number of the extended format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LongDouble {
    Infinity {
        negative: bool,
    },
    /// `mantissa * 2 ^ exponent`; zero has mantissa 0 and keeps its sign.
    Finite {
        negative: bool,
        mantissa: u64,
        exponent: i64,
    },
}

impl LongDouble {
    pub const ZERO: Self = Self::Finite { negative: false, mantissa: 0, exponent: 0 };

    /// None where Redis says that the value is not a valid float: other text, NaN, out of range in either direction.
    pub fn parse(text: &[u8]) -> Option<Self> {
        match scan(text)? {
            Scanned::Infinity { negative } => Some(Self::Infinity { negative }),
            Scanned::Number(exact) => match exact.round(EXTENDED) {
                Rounded::Finite { mantissa, exponent } => {
                    Some(Self::Finite { negative: exact.negative, mantissa, exponent })
                }
                Rounded::Overflow | Rounded::Underflow => None,
            },
        }
    }

    /// The sum, rounded once to the nearest, ties to even. None when it is a NaN or an infinity.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        let (
            Self::Finite { negative, mantissa, exponent },
            Self::Finite { negative: other_negative, mantissa: other_mantissa, exponent: other_exponent },
        ) = (self, other)
        else {
            return None;
        };
        if mantissa == 0 && other_mantissa == 0 {
            return Some(Self::Finite { negative: negative && other_negative, mantissa: 0, exponent: 0 });
        }
        let (left, right, lowest) = match (mantissa, other_mantissa) {
            (_, 0) => return Some(self),
            (0, _) => return Some(other),
            _ => {
                let lowest = exponent.min(other_exponent);
                let scale =
                    |mantissa: u64, exponent: i64| BigUint::from(mantissa) << (exponent - lowest).unsigned_abs();
                (scale(mantissa, exponent), scale(other_mantissa, other_exponent), lowest)
            }
        };
        let (negative, magnitude) = if negative == other_negative {
            (negative, left + right)
        } else if left == right {
            return Some(Self::ZERO);
        } else if left > right {
            (negative, left - right)
        } else {
            (other_negative, right - left)
        };
        let one = BigUint::from(1u8);
        let scale = lowest.unsigned_abs();
        let rounded = if lowest >= 0 {
            round_quotient(&(magnitude << scale), &one, EXTENDED)
        } else {
            round_quotient(&magnitude, &(one << scale), EXTENDED)
        };
        match rounded {
            Rounded::Finite { mantissa, exponent } => Some(Self::Finite { negative, mantissa, exponent }),
            Rounded::Overflow => None,
            // A sum of two numbers of the format is a multiple of its smallest number: never nearer to zero than that.
            Rounded::Underflow => Some(Self::ZERO),
        }
    }

    /// A thousand times as much, rounded once to the format, then up to an integer. None when that is more than an `i64`; what is less
    /// than one is the least.
    pub fn thousandfold_up(self) -> Option<i64> {
        let (negative, mantissa, exponent) = match self {
            Self::Infinity { negative: true } => return Some(i64::MIN),
            Self::Infinity { negative: false } => return None,
            Self::Finite { mantissa: 0, .. } => return Some(0),
            Self::Finite { negative, mantissa, exponent } => (negative, mantissa, exponent),
        };
        let one = BigUint::from(1u8);
        let scale = exponent.unsigned_abs();
        let product = BigUint::from(mantissa) * BigUint::from(1000u16);
        let rounded = match exponent {
            0.. => round_quotient(&(product << scale), &one, EXTENDED),
            _ => round_quotient(&product, &(one << scale), EXTENDED),
        };
        let magnitude = match rounded {
            Rounded::Finite { mantissa, exponent } if exponent <= 0 => {
                let shift = u32::try_from(exponent.unsigned_abs()).unwrap_or(u32::MAX);
                let floor = mantissa.checked_shr(shift).unwrap_or(0);
                let is_whole = floor.checked_shl(shift) == Some(mantissa);
                u128::from(floor) + u128::from(!is_whole && !negative)
            }
            Rounded::Finite { mantissa, exponent } if exponent < 64 => u128::from(mantissa) << exponent,
            Rounded::Finite { .. } | Rounded::Overflow => u128::MAX,
            Rounded::Underflow => u128::from(!negative),
        };
        match (i64::try_from(magnitude), negative) {
            (Ok(magnitude), false) => Some(magnitude),
            (Ok(magnitude), true) => Some(-magnitude),
            (Err(_), false) => None,
            (Err(_), true) => Some(i64::MIN),
        }
    }

    /// `%.17Lf` without trailing zeros and without a bare point; minus zero is `0`. An infinity is `inf` or `-inf`.
    pub fn to_text(self) -> String {
        let (negative, mantissa, exponent) = match self {
            Self::Infinity { negative } => return if negative { "-inf" } else { "inf" }.to_owned(),
            Self::Finite { negative, mantissa, exponent } => (negative, mantissa, exponent),
        };
        let digits = scaled_digits(mantissa, exponent);
        let (whole, fraction) = digits.split_at(digits.len() - FRACTION_DIGITS);
        let fraction = fraction.trim_end_matches('0');
        let sign = if negative && !(whole == "0" && fraction.is_empty()) { "-" } else { "" };
        let point = if fraction.is_empty() { "" } else { "." };
        format!("{sign}{whole}{point}{fraction}")
    }
}

/// `mantissa * 2 ^ exponent * 10 ^ 17`, rounded to an integer (ties to even), with at least one digit before the last 17.
fn scaled_digits(mantissa: u64, exponent: i64) -> String {
    let scaled = BigUint::from(mantissa) * BigUint::from(10u8).pow(FRACTION_DIGITS as u32);
    let shift = exponent.unsigned_abs();
    let integer = if exponent >= 0 {
        scaled << shift
    } else {
        let floor = &scaled >> shift;
        let rest = scaled - (&floor << shift);
        let half = BigUint::from(1u8) << (shift - 1);
        if rest > half || (rest == half && floor.bit(0)) { floor + 1u8 } else { floor }
    };
    format!("{:0>width$}", integer.to_string(), width = FRACTION_DIGITS + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::formats::float_text::TEXT_BYTES_MAX;

    /// What INCRBYFLOAT answers (every expectation here was read from redis-server 7.0.15 on x86-64).
    fn sum(left: &str, right: &str) -> Option<String> {
        let (left, right) = (LongDouble::parse(left.as_bytes())?, LongDouble::parse(right.as_bytes())?);
        Some(left.checked_add(right)?.to_text())
    }

    #[test]
    fn sums_read_as_redis_writes_them() {
        for (left, right, text) in EXPECTED {
            assert_eq!(sum(left, right).as_deref(), Some(*text), "{left} + {right}");
        }
    }

    const EXPECTED: &[(&str, &str, &str)] = &[
        ("10.5", "0.1", "10.6"),
        ("5.0e3", "200", "5200"),
        ("0", "-0", "0"),
        ("-0", "-0", "0"),
        ("1", "-1", "0"),
        ("0.1", "0.2", "0.3"),
        ("3", "1.1", "4.1"),
        ("0", "1e-17", "0.00000000000000001"),
        ("0", "5e-18", "0"),
        ("0", "5.1e-18", "0.00000000000000001"),
        ("0", "4.9e-18", "0"),
        ("0", "-4.9e-18", "0"),
        ("0x10", "0x.8", "16.5"),
        ("18446744073709551615", "1", "18446744073709551616"),
        ("18446744073709551616", "1", "18446744073709551616"),
        ("18446744073709551616", "3", "18446744073709551620"),
    ];

    #[test]
    fn infinities_and_overflows_are_no_sums() {
        assert_eq!(sum("inf", "1"), None);
        assert_eq!(sum("1e4932", "1e4932"), None);
        assert_eq!(sum("-inf", "inf"), None);
        assert!(LongDouble::parse(b"infinity").is_some());
    }

    #[test]
    fn texts_out_of_range_are_not_valid() {
        for text in ["1e4933", "-1e5000", "1e-4952", "nan", "", "abc", " 1", "1 "] {
            assert_eq!(LongDouble::parse(text.as_bytes()), None, "{text}");
        }
        assert!(LongDouble::parse(b"1e4932").is_some());
        assert!(LongDouble::parse(b"3.7e-4951").is_some(), "the smallest subnormal");
        assert!(LongDouble::parse("1".repeat(TEXT_BYTES_MAX).as_bytes()).is_none(), "overflow");
        assert!(LongDouble::parse("0".repeat(TEXT_BYTES_MAX).as_bytes()).is_some());
        assert!(LongDouble::parse("0".repeat(TEXT_BYTES_MAX + 1).as_bytes()).is_none());
    }

    #[test]
    fn the_largest_number_is_written_in_full() {
        let largest = LongDouble::parse(b"1.18973149535723176502e+4932").unwrap();
        assert_eq!(largest, LongDouble::Finite { negative: false, mantissa: u64::MAX, exponent: 16_320 });
        let text = largest.to_text();
        assert_eq!(text.len(), 4_933);
        assert_eq!(LongDouble::parse(text.as_bytes()), Some(largest));
    }

    proptest::proptest! {
        #[test]
        fn integers_below_two_to_the_63_add_exactly(left in -(1i64 << 62)..(1i64 << 62), right in -(1i64 << 62)..(1i64 << 62)) {
            proptest::prop_assert_eq!(sum(&left.to_string(), &right.to_string()), Some((left + right).to_string()));
        }

        #[test]
        fn addition_commutes(left in "-?[0-9]{1,12}\\.[0-9]{1,12}e-?[0-9]{1,3}", right in "-?[0-9]{1,12}\\.[0-9]{1,12}") {
            proptest::prop_assert_eq!(sum(&left, &right), sum(&right, &left));
        }
    }
}
