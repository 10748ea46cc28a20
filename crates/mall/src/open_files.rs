//! How many files, which connections are, this process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Asks for so many. Systems give a process few at first, and more to one that asks; one that gets none goes on with what it
/// has.
pub(crate) fn raise(wanted: u64) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.map_or(wanted, |most| most.min(wanted));
    if current.is_some_and(|current| current < wanted) {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum });
    }
}
