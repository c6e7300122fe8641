//! Places where a test may hold the process, so that its end lands in a window of microseconds. Only with
//! the feature `failpoints`, which nothing that is shipped is built with; without it the macro is nothing.
//!
//! `FAILPOINTS='after_cas=20*off->1*return(60000)'` holds the thread that comes to `after_cas` for the 21st
//! time for a minute, and says so on standard error: then the test knows where the process stands.

/// Holds the thread here if a test asks for it.
macro_rules! failpoint {
    ($name:literal) => {
        #[cfg(feature = "failpoints")]
        crate::failpoint::reach($name);
    };
}

pub(crate) use failpoint;

/// The place `name` was reached.
#[cfg(feature = "failpoints")]
pub(crate) fn reach(name: &'static str) {
    fail::fail_point!(name, |milliseconds| hold(name, milliseconds));
}

/// Blocks the thread, not the task: nothing else that runs on it goes on either, as in a process that is
/// about to be killed.
#[cfg(feature = "failpoints")]
fn hold(name: &'static str, milliseconds: Option<String>) {
    let milliseconds = milliseconds.and_then(|text| text.parse().ok()).unwrap_or_default();
    eprintln!("failpoint {name} reached");
    std::thread::sleep(std::time::Duration::from_millis(milliseconds));
}
