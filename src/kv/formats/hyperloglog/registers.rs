//! All registers of a sketch, a byte each: what a union is made in.

/// How many there are: the standard error is 0.81 percent.
pub const REGISTERS: usize = 1 << 14;
/// The highest value of a register.
pub(super) const REGISTER_MAX: u8 = 63;

/// The largest value that any of the united sketches has in each register.
pub struct Registers(Box<[u8; REGISTERS]>);

impl Registers {
    #[must_use]
    pub fn zeros() -> Registers {
        Registers(Box::new([0; REGISTERS]))
    }

    /// The register has at least this value.
    pub fn raise(&mut self, index: usize, value: u8) {
        let register = &mut self.0[index];
        *register = value.max(*register);
    }

    #[must_use]
    pub fn values(&self) -> &[u8; REGISTERS] {
        &self.0
    }
}
