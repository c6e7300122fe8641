//! How far a run is, on standard error: one line that updates itself on a terminal, a plain line
//! every few seconds elsewhere.

use std::{
    io::{IsTerminal as _, Write as _, stderr},
    time::Duration,
};

use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::{
    report::{grouped, millis, per_second},
    stats::{Glance, Stats},
};

const TERMINAL_PERIOD: Duration = Duration::from_millis(250);
const PLAIN_PERIOD: Duration = Duration::from_secs(5);

/// Back to the first column, erase the line.
const REWRITE: &str = "\r\x1b[2K";

/// Erases the terminal's line when progress ends, however it ends.
struct Line {
    on_terminal: bool,
}

pub async fn show(stats: Stats, messages: u64) {
    let line = Line { on_terminal: stderr().is_terminal() };
    let period = if line.on_terminal { TERMINAL_PERIOD } else { PLAIN_PERIOD };
    let mut ticks = interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before = (Instant::now(), 0);
    loop {
        let now = ticks.tick().await;
        let glance = stats.glance();
        let rate = per_second(glance.figures.sent - before.1, now.duration_since(before.0).as_secs_f64());
        before = (now, glance.figures.sent);
        line.show(&describe(&glance, messages, rate));
    }
}

impl Line {
    fn show(&self, text: &str) {
        let (start, end) = if self.on_terminal { (REWRITE, "") } else { ("", "\n") };
        // A standard error that is gone must not end the run.
        let _unwritten = write!(stderr(), "{start}{text}{end}").is_err();
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.on_terminal {
            let _unwritten = write!(stderr(), "{REWRITE}").is_err();
        }
    }
}

/// Under 80 columns for plans of up to a million requests, so that a terminal's line stays one.
fn describe(glance: &Glance, messages: u64, rate: u64) -> String {
    let [kept, refused, others] = glance.replies.map(grouped);
    let mut text = format!(
        "{:>3} %  {} sent  {}/s  202: {kept}  4xx: {refused}  p50 {} p99 {} ms",
        glance.figures.sent * 100 / messages.max(1),
        grouped(glance.figures.sent),
        grouped(rate),
        millis(glance.p50),
        millis(glance.p99),
    );
    if let Some(lag) = glance.lag {
        text.push_str(&format!("  lag {}", grouped(lag)));
    }
    for (name, count) in [
        ("other", others),
        ("retries", grouped(glance.figures.retries)),
        ("unexpected", grouped(glance.figures.unexpected)),
    ] {
        if count != "0" {
            text.push_str(&format!("  {name}: {count}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Figures;

    #[test]
    fn the_line_fits_a_terminal_and_says_what_is_out_of_order() {
        let calm = Glance {
            figures: Figures { sent: 987_654, ..Figures::default() },
            replies: [888_888, 49_382, 0],
            p50: Duration::from_micros(2_100),
            p99: Duration::from_micros(13_370),
            ..Glance::default()
        };
        let line = describe(&calm, 1_000_000, 12_345);
        assert_eq!(line, " 98 %  987,654 sent  12,345/s  202: 888,888  4xx: 49,382  p50 2.1 p99 13.4 ms");
        assert!(line.len() < 80);
        let watched = describe(&Glance { lag: Some(1_234), ..calm }, 1_000_000, 12_345);
        assert!(watched.ends_with("  lag 1,234"), "{watched}");
        let troubled =
            describe(&Glance { figures: Figures { retries: 3, ..calm.figures }, ..calm }, 1_000_000, 0);
        assert!(troubled.ends_with("  retries: 3"), "{troubled}");
    }
}
