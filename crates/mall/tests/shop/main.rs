//! A whole mall sells: crowds, cut connections, crashes between any two steps, the reference's clients, traces. What must
//! hold is read from the databases afterwards.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod books;
mod conventions;
mod crashes;
mod crowd;
mod forged;
mod privacy;
mod reference;
mod soak;
mod support;
mod traces;
mod walk;
