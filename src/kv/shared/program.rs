//! The versions that the service tells its clients.

/// The Redis whose commands, replies and error texts this service follows: INFO and HELLO.
pub const REDIS_VERSION: &str = "7.2.5";
/// Of this program.
pub const EMPTYSERVER_VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit that it was built from.
pub const COMMIT: &str = env!("BUILD_COMMIT");
