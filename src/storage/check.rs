//! Verifies a whole data file: SQLite's own structure, and what this layer promises of its rows.
