//! What a person sees while something takes its time: one line a step, with a clock that moves.

#![expect(clippy::print_stdout, reason = "this is the output of the commands")]

use std::io::{IsTerminal as _, Write as _, stdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Result;

/// On a terminal the line is written over; in a log a long step says now and then that it is alive.
const TICK: Duration = Duration::from_millis(200);
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);
const NOW_CHARACTERS: usize = 40;

/// Does a step and says how long it took.
pub fn step<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    step_showing(what, String::new, work)
}

/// The same, and shows beside the clock what is done `now`.
pub fn step_showing<T>(
    what: &str,
    now: impl Fn() -> String + Send + 'static,
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let clock = Clock::start(what, now);
    let result = work();
    clock.stop(result.is_ok());
    result
}

/// A line of the output.
pub fn say(line: &str) {
    println!("{line}");
}

struct Clock {
    what: String,
    started: Instant,
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Clock {
    fn start(what: &str, now: impl Fn() -> String + Send + 'static) -> Self {
        let (what, started, done) = (what.to_owned(), Instant::now(), Arc::new(AtomicBool::new(false)));
        let (label, stop) = (what.clone(), Arc::clone(&done));
        let thread = std::thread::spawn(move || tick(&label, started, &now, &stop));
        Self { what, started, done, thread: Some(thread) }
    }

    fn stop(mut self, well: bool) {
        self.done.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            thread.join().ok();
        }
        let (mark, back) =
            (if well { "✓" } else { "✗" }, if stdout().is_terminal() { "\r\x1b[K" } else { "" });
        println!("{back}  {mark} {:<58} {:>6.1} s", self.what, self.started.elapsed().as_secs_f64());
    }
}

fn tick(what: &str, started: Instant, now: &impl Fn() -> String, done: &AtomicBool) {
    let terminal = stdout().is_terminal();
    let mut told = started;
    while !done.load(Ordering::Relaxed) {
        if terminal {
            // Cut, since a line that wraps is not written over.
            let now: String = now().chars().take(NOW_CHARACTERS).collect();
            print!("\r\x1b[K  · {what:<58} {:>6.1} s  {now}", started.elapsed().as_secs_f64());
            stdout().flush().ok();
        } else if told.elapsed() >= SIGN_OF_LIFE {
            told = Instant::now();
            println!("  · {what} … {} s  {}", started.elapsed().as_secs(), now());
        }
        std::thread::park_timeout(TICK);
    }
}
