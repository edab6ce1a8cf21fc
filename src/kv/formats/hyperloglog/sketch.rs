//! A sketch in its string: header, adding, counting, merging, and the way from sparse to dense.

use super::dense::{self, DENSE_BYTES};
use super::estimate::Histogram;
use super::hash::place_of;
use super::registers::Registers;
use super::sparse::{self, Raised, SPARSE_BYTES_MAX};

const MAGIC: &[u8; 4] = b"HYLL";
const ENCODING_AT: usize = 4;
const CARDINALITY_AT: usize = 8;
const HEADER_BYTES: usize = 16;
/// In the last byte of the cardinality: it is out of date.
const OUT_OF_DATE: u8 = 0x80;

/// A longer string holds no sketch that could be read.
pub const SKETCH_BYTES_MAX: usize = HEADER_BYTES + SPARSE_BYTES_MAX;

/// The registers do not make sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupted;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Dense,
    Sparse,
}

/// A string with the header of a sketch, and of the length that a dense one has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sketch(Vec<u8>);

impl Sketch {
    /// Which has seen nothing.
    #[must_use]
    pub fn empty() -> Sketch {
        let mut bytes = vec![0; HEADER_BYTES];
        bytes[..MAGIC.len()].copy_from_slice(MAGIC);
        bytes[ENCODING_AT] = 1;
        bytes.extend_from_slice(&sparse::empty());
        Sketch(bytes)
    }

    /// The sketch in a string. `None`: that is something else.
    #[must_use]
    pub fn of(bytes: Vec<u8>) -> Option<Sketch> {
        let is_sketch = bytes.len() >= HEADER_BYTES
            && bytes.starts_with(MAGIC)
            && match bytes[ENCODING_AT] {
                0 => bytes.len() == HEADER_BYTES + DENSE_BYTES,
                1 => true,
                _ => false,
            };
        is_sketch.then_some(Sketch(bytes))
    }

    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    #[must_use]
    pub fn encoding(&self) -> Encoding {
        if self.0[ENCODING_AT] == 0 { Encoding::Dense } else { Encoding::Sparse }
    }

    fn registers(&self) -> &[u8] {
        &self.0[HEADER_BYTES..]
    }

    /// Shows it an element. True: it has changed. `sparse_bytes_max` is what a sparse string may have.
    ///
    /// # Errors
    /// It is corrupted, and may have changed.
    pub fn add(&mut self, element: &[u8], sparse_bytes_max: usize) -> Result<bool, Corrupted> {
        let (index, value) = place_of(element);
        self.raise(index, value, sparse_bytes_max)
    }

    /// The register has at least this value, which is not 0. True: it had not.
    ///
    /// # Errors
    /// It is corrupted, and may have changed.
    pub fn raise(&mut self, index: usize, value: u8, sparse_bytes_max: usize) -> Result<bool, Corrupted> {
        if self.encoding() == Encoding::Sparse {
            match sparse::raise(&mut self.0, HEADER_BYTES, index, value, sparse_bytes_max)? {
                Raised::Not => return Ok(false),
                Raised::Done => {
                    self.outdate();
                    return Ok(true);
                }
                Raised::TooMuch => self.make_dense()?,
            }
        }
        Ok(dense::raise(&mut self.0[HEADER_BYTES..], index, value))
    }

    /// The cardinality in the header is not to be taken for the present one.
    pub fn outdate(&mut self) {
        self.0[HEADER_BYTES - 1] |= OUT_OF_DATE;
    }

    /// # Errors
    /// It is corrupted, and as it was.
    pub fn make_dense(&mut self) -> Result<(), Corrupted> {
        if self.encoding() == Encoding::Dense {
            return Ok(());
        }
        let mut dense = vec![0; HEADER_BYTES + DENSE_BYTES];
        dense[..HEADER_BYTES].copy_from_slice(&self.0[..HEADER_BYTES]);
        dense[ENCODING_AT] = 0;
        sparse::each_value(self.registers(), |index, value| {
            dense::raise(&mut dense[HEADER_BYTES..], index, value);
        })?;
        self.0 = dense;
        Ok(())
    }

    /// How many different elements it has seen: by the header where that is up to date.
    ///
    /// # Errors
    /// It is corrupted.
    pub fn cardinality(&self) -> Result<u64, Corrupted> {
        let header = self.0[CARDINALITY_AT..HEADER_BYTES].iter().rev();
        if self.0[HEADER_BYTES - 1] & OUT_OF_DATE == 0 {
            return Ok(header.fold(0, |cardinality, byte| cardinality << 8 | u64::from(*byte)));
        }
        let histogram = match self.encoding() {
            Encoding::Dense => Histogram::of(dense::values(self.registers())),
            Encoding::Sparse => sparse::histogram(self.registers())?,
        };
        Ok(histogram.cardinality())
    }

    /// Adds what it has seen to a union.
    ///
    /// # Errors
    /// It is corrupted, and the union may have a part of it.
    pub fn unite_into(&self, union: &mut Registers) -> Result<(), Corrupted> {
        match self.encoding() {
            Encoding::Dense => {
                dense::values(self.registers()).enumerate().for_each(|(index, value)| union.raise(index, value));
                Ok(())
            }
            Encoding::Sparse => sparse::each_value(self.registers(), |index, value| union.raise(index, value)),
        }
    }

    /// The runs of a sparse one as text, for people: `Z:16380 v:1,2 z:2`. `None`: it is dense.
    #[must_use]
    pub fn runs(&self) -> Option<String> {
        let text = |run: sparse::Run| match run {
            run if run.value > 0 => format!("v:{},{}", run.value, run.registers),
            run if run.is_long() => format!("Z:{}", run.registers),
            run => format!("z:{}", run.registers),
        };
        let runs = || sparse::runs(self.registers()).map(text).collect::<Vec<_>>().join(" ");
        (self.encoding() == Encoding::Sparse).then(runs)
    }
}
