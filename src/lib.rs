//! Rtcomm's service protocol, and the command-line tool that speaks it.

pub mod protocol;

#[cfg(feature = "demo")]
mod demo;
