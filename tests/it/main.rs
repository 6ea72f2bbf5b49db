//! The integration tests: one crate, a file for each subject.

mod docs;
