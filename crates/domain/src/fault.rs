//! Places between two steps of a service's work, where a test kills the process, as a system does that is out of
//! memory.
//!
//! A test that has the directory `MALL_FAULTS` arms a place by making a file with its name; the first process to come by
//! removes it and dies. Without the feature `faults` a place is nothing.

/// Dies here if a test wants it.
#[cfg(not(feature = "faults"))]
#[inline]
pub fn point(_name: &str) {}

/// Dies here if a test wants it.
#[cfg(feature = "faults")]
pub fn point(name: &str) {
    use std::path::PathBuf;
    use std::sync::LazyLock;

    static ARMED: LazyLock<Option<PathBuf>> = LazyLock::new(|| std::env::var_os("MALL_FAULTS").map(PathBuf::from));
    if let Some(dir) = &*ARMED
        && std::fs::remove_file(dir.join(name)).is_ok()
    {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        // The signal may take a moment, in which nothing must happen.
        loop {
            std::thread::park();
        }
    }
}
