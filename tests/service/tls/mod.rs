//! TLS of the service, as its clients see it. `unit/tls.tcl` of Redis 7.0 has its cases here: docs/decisions/tls.md says which is which.

mod clients;
mod openssl;
mod reload;
mod started;
mod traffic;
