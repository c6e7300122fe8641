//! How far a proof is, on standard error: one line that updates itself on a terminal, a plain line now
//! and then elsewhere.

use std::{
    io::{IsTerminal as _, Write as _, stderr},
    sync::{
        Condvar, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

const TERMINAL_PERIOD: Duration = Duration::from_millis(250);
const PLAIN_PERIOD: Duration = Duration::from_secs(10);

/// Back to the first column, erase the line.
const REWRITE: &str = "\r\x1b[2K";

/// What a proof does, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Rows,
    Records,
    /// The clients' histories are compared.
    Clients,
    /// What is not applied yet is counted.
    Beyond,
}

impl Step {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Rows => "1/4 rows",
            Self::Records => "2/4 records",
            Self::Clients => "3/4 clients",
            Self::Beyond => "4/4 beyond",
        }
    }
}

/// Counts what is done; shown by another thread.
#[derive(Debug, Default)]
pub struct Progress {
    done: AtomicU64,
    parts_done: AtomicUsize,
    shown: Mutex<Shown>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct Shown {
    step: Option<(Step, Instant)>,
    /// What there is to do: rows or records, about; and partitions.
    total: u64,
    parts: usize,
    has_ended: bool,
}

impl Progress {
    pub fn advance(&self, count: usize) {
        self.done.fetch_add(u64::try_from(count).unwrap_or_default(), Ordering::Relaxed);
    }

    /// Counts a part of the step.
    pub fn part_done(&self) {
        self.parts_done.fetch_add(1, Ordering::Relaxed);
    }

    /// Begins a step of about `total` rows or records, in so many parts.
    pub fn begin(&self, step: Step, total: i64, parts: usize) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        self.done.store(0, Ordering::Relaxed);
        self.parts_done.store(0, Ordering::Relaxed);
        *shown = Shown {
            step: Some((step, Instant::now())),
            total: u64::try_from(total).unwrap_or_default(),
            parts,
            has_ended: false,
        };
    }

    /// Ends [`Self::show`].
    pub fn end(&self) {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).has_ended = true;
        self.ended.notify_all();
    }

    /// Shows the progress until its end.
    pub fn show(&self) {
        let on_terminal = stderr().is_terminal();
        let period = if on_terminal { TERMINAL_PERIOD } else { PLAIN_PERIOD };
        let (start, end) = if on_terminal { (REWRITE, "") } else { ("", "\n") };
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let waited = self.ended.wait_timeout_while(shown, period, |shown| !shown.has_ended);
            shown = waited.unwrap_or_else(PoisonError::into_inner).0;
            if shown.has_ended {
                break;
            }
            if let Some((step, since)) = shown.step {
                let done = self.done.load(Ordering::Relaxed);
                let parts = (self.parts_done.load(Ordering::Relaxed), shown.parts);
                let line = describe(step, (done, shown.total), parts, since.elapsed());
                // A standard error that is gone must not end the proof.
                let _unwritten = write!(stderr(), "{start}{line}{end}").is_err();
            }
        }
        if on_terminal {
            let _unwritten = write!(stderr(), "{REWRITE}").is_err();
        }
    }
}

/// Under 80 columns up to a thousand million records, so that a terminal's line stays one.
fn describe(
    step: Step,
    (done, total): (u64, u64),
    (parts_done, parts): (usize, usize),
    elapsed: Duration,
) -> String {
    let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
    let per_second = done.saturating_mul(1_000) / millis;
    let percent = done.saturating_mul(100).checked_div(total).map_or(100, |percent| percent.min(100));
    let left = match total.saturating_sub(done).checked_div(per_second) {
        Some(seconds) => format!("{seconds} s left"),
        None => "…".to_owned(),
    };
    format!(
        "{:<11} {percent:>3} %  {done}  {per_second}/s  {parts_done} of {parts} parts  {left}",
        step.as_str()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_fits_a_terminal_and_says_how_long_it_takes() {
        let elapsed = Duration::from_secs(1_000);
        let line = describe(Step::Records, (500_000_000, 1_000_000_000), (480, 1_024), elapsed);
        assert_eq!(line, "2/4 records  50 %  500000000  500000/s  480 of 1024 parts  1000 s left");
        assert!(line.len() < 80);
        let line = describe(Step::Rows, (0, 0), (0, 1), Duration::ZERO);
        assert_eq!(line, "1/4 rows    100 %  0  0/s  0 of 1 parts  …");
    }
}
