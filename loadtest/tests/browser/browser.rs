//! Headless Chromium. The page stands in a frame as wide as the screen that is meant (a window of its own
//! cannot be as narrow as a phone), and a script around it measures what a person would see.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde::Deserialize;

/// What the page is looked at with.
pub struct Screen {
    pub width: u32,
    pub height: u32,
    pub dark: bool,
}

#[derive(Debug, Deserialize)]
pub struct Facts {
    pub scroll_width: u32,
    pub plots: Vec<Plot>,
    /// Of the words on the page.
    pub contrast: f64,
    /// Of the paper, from 0 to 1.
    pub brightness: f64,
    pub resources: u32,
    pub json_is_readable: bool,
    pub verdict: String,
    pub text: String,
}

#[derive(Debug, Deserialize)]
pub struct Plot {
    pub width: f64,
    pub right: f64,
    /// Height of a line, in pixels of the screen.
    pub smallest_text: f64,
    pub overlapping_texts: u32,
    pub marks: u32,
    /// Of the faintest line or bar.
    pub contrast: f64,
}

/// Looks at a page, and leaves a picture of it.
pub fn look(name: &str, page: &str, screen: Screen) -> Facts {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("report");
    std::fs::create_dir_all(&directory).unwrap();
    let around = directory.join(format!("{name}.html"));
    std::fs::write(&around, wrapped(page, &screen)).unwrap();
    // The first frame is drawn before the script runs in a picture; both need a run of their own.
    chromium(
        &screen,
        &around,
        &[format!("--screenshot={}", directory.join(format!("{name}.png")).display())],
    );
    let seen = chromium(&screen, &around, &["--dump-dom".to_owned()]);
    let (_, rest) = seen.split_once("<pre id=\"facts\">").expect("no facts");
    let (facts, _) = rest.split_once("</pre>").expect("no end of the facts");
    let facts = facts.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    serde_json::from_str(&facts).unwrap_or_else(|error| panic!("{error}: {facts}"))
}

fn wrapped(page: &str, Screen { width, height, .. }: &Screen) -> String {
    let inside = page.replace('&', "&amp;").replace('"', "&quot;");
    let measure = include_str!("measure.js");
    format!(
        "<!doctype html><meta name=\"color-scheme\" content=\"light dark\"><style>body{{margin:0}}iframe{{border:0;display:block}}pre{{display:none}}</style>\
         <iframe width=\"{width}\" height=\"{height}\" srcdoc=\"{inside}\"></iframe><pre id=\"facts\"></pre><script>{measure}</script>"
    )
}

fn chromium(screen: &Screen, page: &Path, more: &[String]) -> String {
    let scratch: PathBuf = page.with_extension("profile");
    let mut command = Command::new(program());
    command.args([
        "--headless=new",
        "--disable-gpu",
        "--hide-scrollbars",
        "--virtual-time-budget=4000",
        "--no-first-run",
    ]);
    // Its sandbox does not start for root, nor where user namespaces are forbidden; the page is our own.
    command.arg("--no-sandbox").arg(format!("--user-data-dir={}", scratch.display()));
    command.arg(format!("--window-size={},{}", screen.width.max(500), screen.height + 150));
    command.arg(format!("--blink-settings=preferredColorScheme={}", u8::from(!screen.dark)));
    let output = command.args(more).arg(format!("file://{}", page.display())).output();
    std::fs::remove_dir_all(scratch).ok();
    let output = output.expect("chromium cannot be run: `make test-report` installs it");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "chromium: {said}");
    assert!(!said.contains("Refused to") && !said.contains("CONSOLE"), "{said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[expect(clippy::disallowed_methods, reason = "where the Makefile found it")]
fn program() -> String {
    std::env::var("TELEX_CHROMIUM").unwrap_or_else(|_| "chromium".to_owned())
}
