//! Numbers as the wire writes them: strict decimal integers, and doubles in the form that Redis 7.2 gives them.

use std::io::Write;

/// Longest text of a double, with room to spare: sign, 17 digits, a point, leading or trailing zeros, exponent.
const DOUBLE_TEXT_BYTES_MAX: usize = 40;

/// Reads an integer as Redis' `string2ll` does: `-` is the only sign, no leading zero, no `-0`, no blanks, within an
/// `i64`.
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    let (is_negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] if !is_negative => return Some(0),
        [b'1'..=b'9', ..] => {}
        _ => return None,
    }
    // Downwards, because the negative range is the larger one.
    let mut value = 0i64;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_sub(i64::from(digit))?;
    }
    if is_negative { Some(value) } else { value.checked_neg() }
}

/// A double as text on the stack.
///
/// The digits are the shortest that read back as the same value. (Redis' Grisu2 finds one digit too many, or breaks a
/// tie the other way, for three random values in a thousand; that is not imitated.) Their form is that of Redis 7.2,
/// `d2string` with `fpconv`: whole numbers up to 2^62 and those with fewer than eight trailing zeros are plain,
/// fractions with up to six decimals or an exponent from -3 to 3 are decimal, the others are like `1.5e+20`.
pub struct DoubleText {
    bytes: [u8; DOUBLE_TEXT_BYTES_MAX],
    length: usize,
}

impl DoubleText {
    pub fn new(value: f64) -> Self {
        let mut text = Self { bytes: [0; DOUBLE_TEXT_BYTES_MAX], length: 0 };
        if value.is_nan() {
            text.push(b"nan");
            return text;
        }
        if value.is_sign_negative() {
            text.push(b"-");
        }
        let magnitude = value.abs();
        if magnitude.is_infinite() {
            text.push(b"inf");
        } else if magnitude <= WHOLE_MAX && magnitude.trunc() == magnitude {
            text.push(itoa::Buffer::new().format(magnitude as u64).as_bytes());
        } else {
            text.push_shortest(magnitude);
        }
        text
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes[self.length..self.length + bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
    }

    fn push_zeros(&mut self, count: usize) {
        self.bytes[self.length..self.length + count].fill(b'0');
        self.length += count;
    }

    /// `magnitude` is finite and above zero: `digits` times ten to the `exponent`.
    fn push_shortest(&mut self, magnitude: f64) {
        let Shortest { digits, count, exponent } = Shortest::new(magnitude);
        let digits = &digits[..count];
        let point = exponent + count as i32;
        let scientific = point - 1;
        if (0..8).contains(&exponent) {
            self.push(digits);
            self.push_zeros(exponent.unsigned_abs() as usize);
        } else if exponent < 0 && (exponent > -7 || scientific.abs() < 4) {
            if point <= 0 {
                self.push(b"0.");
                self.push_zeros(point.unsigned_abs() as usize);
                self.push(digits);
            } else {
                let (whole, fraction) = digits.split_at(point.unsigned_abs() as usize);
                self.push(whole);
                self.push(b".");
                self.push(fraction);
            }
        } else {
            self.push(&digits[..1]);
            if count > 1 {
                self.push(b".");
                self.push(&digits[1..]);
            }
            self.push(if scientific < 0 { b"e-" } else { b"e+" });
            self.push(itoa::Buffer::new().format(scientific.unsigned_abs()).as_bytes());
        }
    }
}

/// Whole numbers up to here (2^62) are written as integers, as `double2ll` does: exactly, also where fewer digits would
/// do.
const WHOLE_MAX: f64 = (1u64 << 62) as f64;

/// The shortest digits of a double, neither the first nor the last of them zero.
struct Shortest {
    digits: [u8; 17],
    count: usize,
    exponent: i32,
}

impl Shortest {
    /// `magnitude` is finite and above zero.
    fn new(magnitude: f64) -> Self {
        // The standard library writes `d.ddde-dd` with the shortest digits that round trip.
        let mut text = [0u8; DOUBLE_TEXT_BYTES_MAX];
        let mut rest = &mut text[..];
        write!(rest, "{magnitude:e}").expect("17 digits, a point and an exponent fit");
        let length = DOUBLE_TEXT_BYTES_MAX - rest.len();
        let mut shortest = Self { digits: [0; 17], count: 0, exponent: 0 };
        let mut bytes = text[..length].iter();
        for &byte in bytes.by_ref().take_while(|byte| **byte != b'e').filter(|byte| **byte != b'.') {
            shortest.digits[shortest.count] = byte;
            shortest.count += 1;
        }
        let exponent = parse_integer(bytes.as_slice()).expect("an integer follows the e");
        shortest.exponent = exponent as i32 - (shortest.count as i32 - 1);
        shortest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: f64) -> String {
        String::from_utf8(DoubleText::new(value).as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn integers_are_read_as_strictly_as_redis_reads_them() {
        for (input, value) in [
            ("0", Some(0)),
            ("7", Some(7)),
            ("-7", Some(-7)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("-9223372036854775809", None),
            ("99999999999999999999999", None),
            ("", None),
            ("-", None),
            ("-0", None),
            ("00", None),
            ("01", None),
            ("+1", None),
            (" 1", None),
            ("1 ", None),
            ("1a", None),
            ("1:", None),
        ] {
            assert_eq!(parse_integer(input.as_bytes()), value, "{input:?}");
        }
    }

    #[test]
    fn doubles_have_the_form_of_redis_7_2() {
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (0.1, "0.1"),
            (3.0, "3"),
            (100.0, "100"),
            (1e15, "1000000000000000"),
            (4_503_599_627_370_495.0, "4503599627370495"),
            (4_611_686_018_427_387_904.0, "4611686018427387904"),
            (-161_304_845_894_623_140.0, "-161304845894623136"),
            (4_611_686_018_427_388_928.0, "4611686018427389000"),
            (1e20, "1e+20"),
            (1.5e300, "1.5e+300"),
            (123_456_789_012_345_680_000.0, "123456789012345680000"),
            (0.001, "0.001"),
            (0.000_001, "0.000001"),
            (0.000_000_1, "1e-7"),
            (0.001_234_567_89, "0.00123456789"),
            (0.000_123_456_789, "1.23456789e-4"),
            (1_234.567_890_123, "1234.567890123"),
            (123_456.789_012_345, "1.23456789012345e+5"),
            (0.000_012, "0.000012"),
            (1.234_567_890_123_456_8e-5, "1.2345678901234568e-5"),
            (1.797_693_134_862_315_7e308, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
            (-f64::NAN, "nan"),
        ] {
            assert_eq!(text(value), expected);
        }
    }

    proptest::proptest! {
        #[test]
        fn a_double_reads_back_as_itself(bits: u64) {
            let value = f64::from_bits(bits);
            let back: f64 = text(value).parse().unwrap();
            assert!(back.to_bits() == bits || value.is_nan() && back.is_nan());
        }
    }
}
