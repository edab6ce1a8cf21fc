//! Who may do what: one table, which the gate looks at for every request.

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    Administrator,
    Doctor,
    Nurse,
    Pharmacist,
    Reader,
}

impl Role {
    pub(crate) const NAMES: &[&str] = &["administrator", "doctor", "nurse", "pharmacist", "reader"];

    pub(crate) fn named(name: &str) -> Option<Role> {
        Some(match name {
            "administrator" => Role::Administrator,
            "doctor" => Role::Doctor,
            "nurse" => Role::Nurse,
            "pharmacist" => Role::Pharmacist,
            "reader" => Role::Reader,
            _ => return None,
        })
    }

    pub(crate) fn may(self, module: &str) -> Right {
        let row = RIGHTS.iter().find(|(name, _)| *name == module);
        row.map_or(Right::Nothing, |(_, rights)| rights[self as usize])
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Right {
    Nothing,
    Read,
    Write,
}

use Right::{Nothing as N, Read as R, Write as W};

/// The first part of an address, and what administrators, doctors, nurses, pharmacists and readers may do below it. In the order of the menu.
pub(crate) const RIGHTS: &[(&str, [Right; 5])] = &[
    ("dashboard", [R, R, R, R, R]),
    ("patients", [W, W, W, R, R]),
    ("admissions", [W, W, W, N, R]),
    ("wards", [W, R, R, N, R]),
    ("beds", [W, R, W, N, R]),
    ("doctors", [W, R, R, R, R]),
    ("bookings", [W, W, W, N, R]),
    ("cases", [W, W, R, N, R]),
    ("prescriptions", [W, W, R, W, R]),
    ("drugs", [W, R, R, W, R]),
    ("dictionary", [W, R, R, R, R]),
    ("notices", [W, W, R, R, R]),
    ("administrators", [W, N, N, N, N]),
    ("audit", [R, N, N, N, R]),
    ("backups", [W, N, N, N, N]),
    // Everybody's own.
    ("password", [W, W, W, W, W]),
    ("logout", [W, W, W, W, W]),
];
