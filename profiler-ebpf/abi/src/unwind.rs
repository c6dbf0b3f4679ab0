//! Unwinding: from a frame to its caller, and from a place in a file to the rule that says how.
//!
//! All of it is pure: memory, registers and table blocks come in as closures. The kernel programs
//! and the tests run the same code.

mod machine;
mod registers;
mod rule;
mod step;
pub mod table;

pub use machine::Machine;
pub use registers::Registers;
pub use rule::{Rule, cfa, followed, fp, ra};
pub use step::{Caller, step};
