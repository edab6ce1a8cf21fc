//! The two facts of a certificate that are needed beyond what rustls checks: until when it holds, and whom it names.
//!
//! Read from the DER encoding (RFC 5280, X.690) by walking over what stands before them; anything unexpected is `None`.

/// Seconds since 1970 of the end of the certificate's validity.
#[must_use]
pub(super) fn not_after_seconds(der: &[u8]) -> Option<i64> {
    let mut validity = Fields(part(der, VALIDITY)?);
    validity.next()?;
    let (tag, text) = validity.next()?;
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (year, rest) = match (tag, text.len()) {
        // UTCTime: two digits, which stand for 1950 to 2049.
        (0x17, 12) => (text[..2].parse::<i64>().ok()?, &text[2..]),
        (0x18, 14) => (text[..4].parse::<i64>().ok()?, &text[4..]),
        _ => return None,
    };
    let year = match (tag, year) {
        (0x17, 50..) => 1900 + year,
        (0x17, _) => 2000 + year,
        _ => year,
    };
    let number = |place: usize| rest[2 * place..2 * place + 2].parse::<i64>().ok();
    let days = days_since_1970(year, number(0)?, number(1)?);
    Some(((days * 24 + number(2)?) * 60 + number(3)?) * 60 + number(4)?)
}

/// The common name of its subject: the last one, where there are several.
#[must_use]
pub(super) fn common_name(der: &[u8]) -> Option<&str> {
    let mut found = None;
    for (_, set) in Fields(part(der, SUBJECT)?) {
        for (_, attribute) in Fields(set) {
            let mut attribute = Fields(attribute);
            if attribute.next() == Some((OBJECT_ID, COMMON_NAME)) {
                found = attribute.next();
            }
        }
    }
    match found? {
        // UTF8String, PrintableString, IA5String, TeletexString: the last two as far as they are ASCII.
        (0x0c | 0x13 | 0x16 | 0x14, text) => std::str::from_utf8(text).ok().filter(|text| !text.is_empty()),
        _ => None,
    }
}

/// Places among the fields of the part that is signed, without the version: serial number, signature, issuer, validity, subject.
const VALIDITY: usize = 3;
const SUBJECT: usize = 4;
const SEQUENCE: u8 = 0x30;
const OBJECT_ID: u8 = 0x06;
/// id-at-commonName, 2.5.4.3.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const VERSION: u8 = 0xa0;

fn part(der: &[u8], place: usize) -> Option<&[u8]> {
    let (_, certificate) = Fields(der).next().filter(|(tag, _)| *tag == SEQUENCE)?;
    let (_, signed) = Fields(certificate).next().filter(|(tag, _)| *tag == SEQUENCE)?;
    let (tag, value) = Fields(signed).filter(|(tag, _)| *tag != VERSION).nth(place)?;
    (tag == SEQUENCE).then_some(value)
}

/// The fields of a value, each as tag and contents. Ends at what is not well formed.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[tag, first], rest) = self.0.split_first_chunk::<2>()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x83 => {
                let (digits, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
                (digits.iter().fold(0, |length, &digit| length << 8 | usize::from(digit)), rest)
            }
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, value))
    }
}

/// Of the Gregorian calendar, by counting years from March on, so that the leap day is the last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days_of_years = 365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    days_of_years + (153 * month + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, DnValue, KeyPair, date_time_ymd};

    fn made(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["kv.example".to_owned()]).unwrap();
        change(&mut params);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn the_end_of_validity_is_read_in_both_forms() {
        for ((year, month, day), seconds) in [
            ((2000, 2, 29), 951_782_400),
            ((2030, 1, 1), 1_893_456_000),
            ((2049, 12, 31), 2_524_521_600),
            ((2050, 1, 1), 2_524_608_000),
            ((2400, 2, 29), 13_574_563_200),
            ((1999, 12, 31), 946_598_400),
        ] {
            let der = made(|params| params.not_after = date_time_ymd(year, month, day));
            assert_eq!(not_after_seconds(&der), Some(seconds), "{year}-{month}-{day}");
        }
    }

    #[test]
    fn the_subject_has_a_name_or_none() {
        let named = |value: DnValue| {
            made(|params| {
                params.distinguished_name.push(DnType::OrganizationName, "Ours");
                params.distinguished_name.push(DnType::CommonName, value);
            })
        };
        assert_eq!(common_name(&named(DnValue::Utf8String("Zoë".into()))), Some("Zoë"));
        assert_eq!(common_name(&named(DnValue::PrintableString("ann".try_into().unwrap()))), Some("ann"));
        assert_eq!(common_name(&named(DnValue::Utf8String(String::new()))), None);
        let unnamed = made(|params| params.distinguished_name = rcgen::DistinguishedName::new());
        assert_eq!(common_name(&unnamed), None);
    }

    #[test]
    fn nothing_that_is_no_certificate_does_harm() {
        let der = made(|_| {});
        for length in 0..der.len() {
            let cut = &der[..length];
            assert_eq!((not_after_seconds(cut), common_name(cut)), (None, None));
        }
        let mut seed = 7_u64;
        for _ in 0..20_000 {
            let mut changed = der.clone();
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let place = (seed >> 33) as usize % changed.len();
            changed[place] ^= (seed >> 20) as u8;
            // Whatever comes, it comes.
            std::hint::black_box((not_after_seconds(&changed), common_name(&changed)));
        }
    }
}
