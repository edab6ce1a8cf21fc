//! All kinds of records: the only place that lists the modules.

use crate::fields::Kind;
use crate::{
    administrators, admissions, bookings, cases, dictionary, doctors, drugs, notices, patients, prescriptions, wards,
};

const ALL: &[&Kind] = &[
    &patients::PATIENT,
    &admissions::ADMISSION,
    &wards::WARD,
    &wards::BED,
    &doctors::DOCTOR,
    &bookings::BOOKING,
    &cases::CASE,
    &prescriptions::PRESCRIPTION,
    &drugs::DRUG,
    &dictionary::WORD,
    &notices::NOTICE,
    &administrators::ACCOUNT,
];

pub(crate) fn named(name: &str) -> Option<&'static Kind> {
    ALL.iter().copied().find(|kind| kind.name == name)
}

/// The kind whose pages lie below `/PATH`.
pub(crate) fn at(path: &str) -> Option<&'static Kind> {
    ALL.iter().copied().find(|kind| kind.path == path)
}
